"""Curves against scikit-learn's, and how little thinning moves them."""

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from app.ml.evaluation.classification import Classification
from app.ml.evaluation.curve import Curve
from app.ml.evaluation.curve_builders import learning
from app.ml.evaluation.interval import share_interval
from app.ml.evaluation.multi_label import MultiLabel
from app.ml.evaluation.regression import Regression

RANDOM = np.random.default_rng(0)


def binary(rows: int, shift: float = 1.0) -> Classification:
    truth = np.arange(rows) % 2
    score = 1 / (1 + np.exp(-RANDOM.normal(size=rows) - shift * (truth - 0.5)))
    return Classification(np.stack([1 - score, score], axis=1), truth, ("no", "yes"), np.stack([1 - score, score], 1))


def of(outcomes: Classification) -> dict[str, Curve]:
    return {curve.kind: Curve.model_validate_json(curve.model_dump_json()) for curve in outcomes.curves("label")}


@pytest.mark.parametrize("rows", [20, 500, 30_000])
@pytest.mark.parametrize("shift", [0.0, 1.0, 6.0])
def test_thinned_curves_keep_their_areas(rows: int, shift: float) -> None:
    outcomes = binary(rows, shift)
    found, scores = of(outcomes), outcomes.probabilities[:, 1]
    (line,) = found["roc"].lines
    auc = reference.roc_auc_score(outcomes.truth, scores)
    assert line.area == pytest.approx(auc)
    assert np.trapezoid(np.array(line.y, float), np.array(line.x)) == pytest.approx(auc, abs=0.002)
    assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)
    assert len(line.x) == len(line.thresholds) <= 502
    (line,) = found["precision_recall"].lines
    average = reference.average_precision_score(outcomes.truth, scores)
    steps = np.diff([0, *line.x]) @ np.array(line.y, float)
    assert (line.area, steps) == (pytest.approx(average), pytest.approx(average))
    assert len(line.x) <= 250


def test_few_points_are_all_there() -> None:
    outcomes = binary(12)
    x, y, thresholds = reference.roc_curve(outcomes.truth, outcomes.probabilities[:, 1], drop_intermediate=False)
    (line,) = of(outcomes)["roc"].lines
    assert np.allclose(line.x, x)
    assert np.allclose(np.array(line.y, float), y)
    assert line.thresholds[0] is None
    assert line.thresholds[1:] == pytest.approx(thresholds[1:].tolist())


def test_calibration_is_scikit_learns() -> None:
    outcomes = binary(4000)
    scaled, unscaled = of(outcomes)["calibration"].lines
    assert scaled.model_copy(update={"name": "unscaled"}) == unscaled
    right, confidence = calibration_curve(outcomes.answers == outcomes.truth, outcomes.probabilities.max(1), n_bins=15)
    assert scaled.x == pytest.approx(confidence.tolist())
    assert scaled.y == pytest.approx(right.tolist())
    assert sum(scaled.rows) == 4000


def test_many_classes_show_those_with_the_most_rows() -> None:
    truth = np.minimum(RANDOM.geometric(0.1, 3000) - 1, 29)
    outcomes = Classification(RANDOM.dirichlet(np.ones(30), 3000), truth, tuple(map(str, range(30))))
    found = of(outcomes)
    common = np.argsort(-np.bincount(truth, minlength=30), kind="stable")[:20]
    assert {line.name for line in found["roc"].lines} == set(map(str, common))
    assert np.array(found["confusion_matrix"].counts).sum() == 3000


def test_curves_of_one_class_of_labels_and_of_numbers() -> None:
    one = Classification(np.full((20, 2), 0.5), np.ones(20, np.int64), ("no", "yes"))
    assert of(one)["roc"].lines == ()
    assert [line.y for line in of(one)["precision_recall"].lines] == [(1.0,)]
    truth = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, np.nan]] * 5)
    roc, _ = MultiLabel(RANDOM.random((15, 2)), truth, ("x", "y")).curves("tags")
    assert [line.name for line in roc.lines] == ["x"]
    values = RANDOM.normal(size=5000)
    (curve,) = Regression(values + 1, values).curves("size")
    (line,) = curve.lines
    assert len(line.x) == 500
    assert np.allclose(np.array(line.y, float) - line.x, 1)
    assert (line.x[0], line.x[-1]) == (values.min(), values.max())
    assert Regression(np.empty(0), np.empty(0)).curves("size")[0].lines[0].x == ()


def test_learning_curves_are_thinned_and_keep_gaps() -> None:
    points = [
        (step, {"train/loss": 1 / step, **({"val/loss": None} if step % 100 == 0 else {})}) for step in range(1, 3001)
    ]
    curve = learning(points)
    loss, held_out = curve.lines
    assert (len(loss.x), loss.x[0], loss.x[-1]) == (498, 1, 3000), "first and last are the extremes, too"
    assert held_out.x == tuple(range(100, 3001, 100))
    assert set(held_out.y) == {None}
    assert learning([]).lines == ()


@pytest.mark.parametrize("rows", [12, 30_000])
def test_points_of_shares_have_exact_intervals(rows: int) -> None:
    found = of(binary(rows))
    (roc,), (precision,) = found["roc"].lines, found["precision_recall"].lines
    for line in (roc, precision, *found["calibration"].lines):
        assert len(line.low) == len(line.high) == len(line.x)
        assert all(0 <= low <= y <= high <= 1 for low, y, high in zip(line.low, line.y, line.high, strict=True) if y)
    middle = len(roc.x) // 2
    expected = share_interval(round(roc.y[middle] * rows / 2), rows // 2)  # of the positive rows
    assert (roc.low[middle], roc.high[middle]) == pytest.approx((expected.low, expected.high))
    answered = round(precision.x[-1] * rows / 2 / precision.y[-1])  # down to the last threshold that raises the recall
    expected = share_interval(rows // 2, answered)
    assert (precision.low[-1], precision.high[-1]) == pytest.approx((expected.low, expected.high), abs=0.01)
    scaled = found["calibration"].lines[0]
    expected = share_interval(round(scaled.y[0] * scaled.rows[0]), scaled.rows[0])
    assert (scaled.low[0], scaled.high[0]) == pytest.approx((expected.low, expected.high))


def test_predictions_have_the_intervals_of_their_rows() -> None:
    truth = RANDOM.normal(size=30)
    (line,) = Regression(truth + 1, truth, truth, truth + 3).curves("size")[0].lines
    assert np.allclose(np.array(line.high) - line.low, 3)
    assert np.allclose(np.array(line.y) - line.low, 1)
    assert Regression(truth, truth).curves("size")[0].lines[0].low == ()


def test_curves_of_earlier_releases_have_no_intervals() -> None:
    kept = '{"kind": "roc", "head": "x", "x_label": "a", "y_label": "b", "lines": [{"name": "x", "x": [0], "y": [0]}]}'
    assert Curve.model_validate_json(kept).lines[0].low == ()
