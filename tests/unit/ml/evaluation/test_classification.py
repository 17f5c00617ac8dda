"""Metrics of classifiers against scikit-learn, with weights too: a resample is a weighting."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as reference

from app.ml.evaluation.classification import Classification
from app.ml.evaluation.multi_label import MultiLabel
from app.ml.evaluation.outcomes import Values

RANDOM = np.random.default_rng(0)
CLASSES = ("a", "b", "c")


def soft(rows: int, classes: int, *, ties: bool = False) -> Values:
    values = RANDOM.random((rows, classes))
    values = values.round(1) + 0.1 if ties else values
    return np.asarray(values / values.sum(1, keepdims=True))


def check(found: Classification, weights: Values | None = None) -> None:
    probabilities, truth, answers = found.probabilities, found.truth, found.answers
    weights = np.ones(len(truth)) if weights is None else weights
    binary = probabilities.shape[1] == 2
    options = {"sample_weight": weights}
    one_hot = np.eye(probabilities.shape[1])[truth]
    of_second = (truth, probabilities[:, 1])
    f1: Callable[..., float] = reference.f1_score
    wanted = {
        "accuracy": reference.accuracy_score(truth, answers, **options),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, answers, **options),
        "macro_f1": f1(truth, answers, average="macro", **options),
        "weighted_f1": f1(truth, answers, average="weighted", **options),
        "auc_roc": reference.roc_auc_score(*of_second, **options)
        if binary
        else reference.roc_auc_score(truth, probabilities, multi_class="ovr", **options),
        "average_precision": reference.average_precision_score(*of_second, **options)
        if binary
        else reference.average_precision_score(one_hot, probabilities, **options),
        "log_loss": reference.log_loss(truth, probabilities, **options),
    }
    measured = {name: values[0] for name, values in found.measure(weights[None]).items()}
    assert {name: measured[name] for name in wanted} == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_classification_agrees_with_scikit_learn(classes: int, ties: bool) -> None:
    found = Classification(soft(90, classes, ties=ties), np.arange(90) % classes, CLASSES[:classes])
    check(found)
    check(found, RANDOM.integers(0, 4, 90).astype(float))
    counts = found.metrics()["confusion_matrix"]["counts"]
    assert counts == reference.confusion_matrix(found.truth, found.answers).tolist()
    assert found.metrics()["rows"] == 90


def test_many_weightings_are_measured_at_once() -> None:
    found = Classification(soft(40, 3), np.arange(40) % 3, CLASSES)
    weights = RANDOM.integers(0, 3, (7, 40)).astype(float)
    together = found.measure(weights)
    for row in range(7):
        alone = found.measure(weights[row : row + 1])
        assert {name: values[row] for name, values in together.items()} == pytest.approx(
            {name: values[0] for name, values in alone.items()}
        )


def test_a_taken_row_counts_as_one_with_a_weight() -> None:
    found = Classification(soft(50, 3), np.arange(50) % 3, CLASSES)
    drawn = RANDOM.integers(0, 50, 50)
    taken = found.take(drawn).measure(np.ones((1, 50)))
    weighted = found.measure(np.bincount(drawn, minlength=50)[None].astype(float))
    assert all(taken[name] == pytest.approx(weighted[name]) for name in taken)


def test_two_classes_rank_by_the_second() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.35, 0.65], [0.2, 0.8]])
    found = Classification(probabilities, np.array([0, 0, 1, 1]), ("no", "yes")).metrics()
    assert found["auc_roc"] == 1.0
    assert found["accuracy"] == 0.75
    assert found["confusion_matrix"]["counts"] == [[1, 1], [0, 2]]


def test_means_over_classes_are_over_those_that_occur() -> None:
    probabilities = soft(60, 3)
    found = Classification(probabilities, np.arange(60) % 2, CLASSES).metrics()
    of_class = [reference.roc_auc_score(np.arange(60) % 2 == code, probabilities[:, code]) for code in (0, 1)]
    assert found["auc_roc"] == pytest.approx(np.mean(of_class))
    assert found["balanced_accuracy"] == pytest.approx(
        np.mean([(probabilities[code::2].argmax(1) == code).mean() for code in (0, 1)])
    )


def test_the_positive_class_is_what_is_ranked() -> None:
    """Fraud that a model cannot rank at all: the average precision of all the rest hides it."""
    truth = (np.arange(400) % 40 == 0).astype(np.int64)
    scores = RANDOM.random(400)
    probabilities = np.stack([1 - scores, scores], axis=1)
    fraud = Classification(probabilities, 1 - truth, ("fraud", "honest"), positive="fraud")
    others = Classification(probabilities, 1 - truth, ("fraud", "honest"), positive="honest")
    by_hand = reference.average_precision_score(truth, 1 - scores)
    assert fraud.metrics()["average_precision"] == pytest.approx(by_hand)
    assert by_hand < 0.1
    assert others.metrics()["average_precision"] > 0.95
    assert Classification(probabilities, truth, ("a", "b")).metrics()["positive"] == "b"
    for curve in fraud.curves("label")[:2]:
        assert [line.name for line in curve.lines] == ["fraud"]
    assert fraud.metrics()["by_class"] == others.metrics()["by_class"]
    assert fraud.take(np.arange(50)).positive == "fraud"


def test_every_class_has_figures_of_its_own() -> None:
    truth, probabilities = np.arange(90) % 3, soft(90, 4)
    found = Classification(probabilities, truth, (*CLASSES, "never")).metrics()["by_class"]
    answers = probabilities.argmax(1)
    each = reference.precision_recall_fscore_support(truth, answers, labels=[0, 1, 2], zero_division=0)
    for code, name in enumerate(CLASSES):
        figures = found[name]
        assert [figures[key] for key in ("precision", "recall", "f1", "rows")] == pytest.approx(
            [column[code] for column in each]
        )
        assert figures["average_precision"] == pytest.approx(
            reference.average_precision_score(truth == code, probabilities[:, code])
        )
        low, high = (figures["intervals"]["recall"][end] for end in ("low", "high"))
        assert low < figures["recall"] < high
    assert {name for name, value in found["never"].items() if value is None} == {
        "recall", "f1", "average_precision", "auc_roc",
    }  # fmt: skip
    assert found["never"]["precision"] == 0


def test_a_class_that_is_answered_and_never_there_has_no_part_in_the_mean() -> None:
    """As documented: a mean over classes is one over those that occur."""
    probabilities = np.eye(3)[[0, 0, 1, 2]]
    found = Classification(probabilities, np.array([0, 0, 1, 1]), CLASSES).metrics()
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    labels = MultiLabel(probabilities, np.eye(3)[[0, 0, 1, 1]], CLASSES).metrics()
    assert labels["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_answering_the_most_frequent_class_is_told_beside_accuracy() -> None:
    found = Classification(soft(10, 3), np.array([1] * 7 + [0, 0, 2]), CLASSES).metrics()
    assert found["majority_accuracy"] == 0.7


def test_one_class_alone_cannot_be_ranked() -> None:
    found = Classification(soft(10, 2), np.zeros(10, np.int64), ("a", "b")).metrics()
    assert (found["auc_roc"], found["average_precision"]) == (None, None)
    json.dumps(found, allow_nan=False)


def test_no_rows_have_no_metrics() -> None:
    found = Classification(np.empty((0, 3)), np.empty(0, np.int64), CLASSES).metrics()
    assert {name for name, value in found.items() if value is not None} == {"by_class", "confusion_matrix", "rows"}
    json.dumps(found, allow_nan=False)


def test_a_certain_mistake_costs_a_finite_amount() -> None:
    found = Classification(np.array([[1.0, 0.0]]), np.array([1]), ("a", "b")).metrics()
    assert 30 < found["log_loss"] < 40


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    found = Classification(probabilities, np.array([0, 0, 1, 1]), ("a", "b"), probabilities[:, ::-1]).metrics()
    assert found["ece"] == pytest.approx(3 / 4 * (0.9 - 2 / 3) + 1 / 4 * 0.4)
    assert found["ece_unscaled"] == pytest.approx(3 / 4 * (0.9 - 1 / 3) + 1 / 4 * 0.6)


def test_a_calibrated_classifier_has_a_small_error() -> None:
    probabilities = RANDOM.dirichlet((1, 1, 1), 20_000)
    truth = (RANDOM.random(20_000)[:, None] > probabilities.cumsum(1)).sum(1)
    assert Classification(probabilities, truth, CLASSES).metrics()["ece"] < 0.015
    sharper = probabilities**3 / (probabilities**3).sum(1)[:, None]
    assert Classification(sharper, truth, CLASSES).metrics()["ece"] > 0.1


def test_several_labels_agree_with_scikit_learn() -> None:
    truth = (RANDOM.random((80, 3)) < 0.4).astype(float)
    probabilities = (0.6 * RANDOM.random((80, 3)) + 0.4 * truth).round(2)
    found = MultiLabel(probabilities, truth, ("x", "y", "z"))
    answers = probabilities >= 0.5
    weights = RANDOM.integers(0, 3, 80).astype(float)
    options = {"sample_weight": weights}
    wanted = {
        "subset_accuracy": reference.accuracy_score(truth, answers, **options),
        "hamming_loss": reference.hamming_loss(truth, answers, **options),
        "micro_f1": reference.f1_score(truth, answers, average="micro", **options),
        "macro_f1": reference.f1_score(truth, answers, average="macro", **options),
        "auc_roc": reference.roc_auc_score(truth, probabilities, **options),
        "average_precision": reference.average_precision_score(truth, probabilities, **options),
    }
    measured = {name: values[0] for name, values in found.measure(weights[None]).items()}
    assert {name: measured[name] for name in wanted} == pytest.approx(wanted)
    by_label = found.metrics()["average_precision_by_label"]
    assert by_label == pytest.approx(
        {
            name: reference.average_precision_score(truth[:, label], probabilities[:, label])
            for label, name in enumerate("xyz")
        }
    )


def test_labels_that_are_not_known_do_not_count() -> None:
    truth = (RANDOM.random((60, 2)) < 0.5).astype(float)
    probabilities = RANDOM.random((60, 2))
    whole = MultiLabel(probabilities[:40], truth[:40], ("x", "y")).metrics()
    truth[40:] = np.nan
    found = MultiLabel(probabilities, truth, ("x", "y")).metrics()
    for name in ("average_precision_by_label", "by_label"):
        assert found.pop(name) == whole.pop(name)
    assert found == pytest.approx({**whole, "rows": 60})
    nothing = MultiLabel(probabilities[40:], truth[40:], ("x", "y")).metrics()
    by_label = {"average_precision_by_label", "by_label"}
    assert {name for name, value in nothing.items() if value is not None} == {*by_label, "rows"}
