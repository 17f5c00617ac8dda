"""Intervals against scipy's bootstrap, their coverage on simulated rows, and comparisons of two models."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from app.ml.evaluation.bootstrap import MIN_ROWS, intervals, paired
from app.ml.evaluation.classification import Classification
from app.ml.evaluation.interval import Interval, share_interval
from app.ml.evaluation.multi_label import MultiLabel
from app.ml.evaluation.outcomes import Means, Values, Weights
from app.ml.evaluation.regression import Regression


def expanded(rows: int, level: float = 0.95) -> float:
    """The level whose plain percentile interval is the expanded one of `level`."""
    return float(1 - 2 * stats.norm.cdf(-np.sqrt(rows / (rows - 1)) * stats.t.ppf((1 + level) / 2, rows - 1)))


def scipys(data: tuple[np.ndarray, ...], statistic: object, rows: int, level: float = 0.95) -> tuple[float, float]:
    random = np.random.default_rng(1)
    options = {"method": "percentile", "paired": True, "n_resamples": 9999, "rng": random, "vectorized": False}
    found = stats.bootstrap(data, statistic, confidence_level=expanded(rows, level), **options).confidence_interval
    return float(found.low), float(found.high)


def test_a_mean_has_scipys_interval() -> None:
    values = np.random.default_rng(0).exponential(size=80)
    found = intervals(Means({"mae": values}))["mae"]
    width = found.high - found.low
    low, high = scipys((values,), np.mean, 80)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * width)
    assert found.level == 0.95


def test_r2_has_scipys_interval() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=100)
    values = truth + 0.5 * random.normal(size=100)

    def r2(values: np.ndarray, truth: np.ndarray) -> float:
        return float(1 - ((values - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())

    found = intervals(Regression(values, truth), level=0.8)["r2"]
    assert (found.low, found.high) == pytest.approx(scipys((values, truth), r2, 100, 0.8), abs=0.015)


def test_a_difference_has_scipys_interval() -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=60)
    second = first + 0.3 * random.normal(size=60) + 0.2
    found = paired(Means({"mae": first}), Means({"mae": second}))["mae"]
    wanted = scipys((first, second), lambda a, b: np.mean(a) - np.mean(b), 60)
    assert (found.interval.low, found.interval.high) == pytest.approx(wanted, abs=0.02)
    assert found.difference == pytest.approx((first - second).mean())
    assert found.verdict == "better", "the first errs less"


@pytest.mark.parametrize("rows", [15, 60])
def test_intervals_hold_the_truth_as_often_as_they_say(rows: int) -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(300):
        found = intervals(Means({"score": random.normal(size=rows)}), level=0.9, seed=trial)["score"]
        held += found.low <= 0 <= found.high
    assert 0.85 < held / 300 < 0.95


def test_paired_intervals_of_equal_models_hold_zero_and_see_what_unpaired_ones_would_not() -> None:
    random = np.random.default_rng(0)
    equal = better = 0
    for trial in range(200):
        hard = random.normal(size=50)
        one, other = (hard + 0.1 * random.normal(size=50) for _ in range(2))
        equal += paired(Means({"rmse": one}), Means({"rmse": other}), seed=trial)["rmse"].verdict == "no evidence"
        better += paired(Means({"rmse": one - 0.1}), Means({"rmse": other}), seed=trial)["rmse"].verdict == "better"
    assert 0.92 < equal / 200 < 0.98
    assert better > 190, "the rows vary ten times as much as the models differ"


def test_a_verdict_minds_what_is_good() -> None:
    small, large = np.full(20, 0.2), np.full(20, 0.8)
    found = {
        name: paired(Means({name: small}), Means({name: large}))[name].verdict for name in ("accuracy", "mae", "mine")
    }
    assert found == {"accuracy": "worse", "mae": "better", "mine": None}
    assert paired(Means({"mae": small}), Means({"mae": small}))["mae"].verdict == "no evidence"


def test_few_rows_and_undefined_metrics_have_no_interval() -> None:
    assert intervals(Means({"mae": np.ones(MIN_ROWS - 1)})) == {}
    one_class = Classification(np.full((20, 2), 0.5), np.zeros(20, np.int64), ("a", "b"))
    assert "auc_roc" not in intervals(one_class)
    assert "accuracy" in intervals(one_class)


def test_a_seed_repeats_an_interval_and_another_moves_it() -> None:
    outcomes = Means({"mae": np.random.default_rng(0).random(40)})
    assert intervals(outcomes, seed=1) == intervals(outcomes, seed=1)
    assert intervals(outcomes, seed=1) != intervals(outcomes, seed=2)


def test_bounds_of_a_metric_are_kept() -> None:
    assert intervals(Means({"accuracy": np.ones(12)}))["accuracy"].high == 1.0


def test_shares_of_rows_have_exact_intervals() -> None:
    """Against scipy's Clopper-Pearson: 30 right answers of 30 do not promise that all others are right."""
    for right in (0, 17, 30):
        probabilities = np.where(np.arange(30)[:, None] < right, [[0.9, 0.1]], [[0.1, 0.9]])
        found = intervals(Classification(probabilities, np.zeros(30, np.int64), ("a", "b")))["accuracy"]
        exact = stats.binomtest(right, 30).proportion_ci(method="exact")
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    known = np.arange(40) % 2 == 0
    truth = np.where(known[:, None], 1.0, [[1.0, np.nan]])
    labels = intervals(MultiLabel(np.full((40, 2), 0.9), truth, ("x", "y")))["subset_accuracy"]
    assert labels.low == pytest.approx(stats.binomtest(20, 20).proportion_ci(method="exact").low)
    covered = Regression(np.zeros(12), np.zeros(12), -np.ones(12), np.ones(12))
    assert intervals(covered)["coverage"].low == pytest.approx(stats.binomtest(12, 12).proportion_ci().low)


def test_metrics_of_rows_without_any_mistake_have_no_empty_interval() -> None:
    truth = np.arange(30) % 2
    found = intervals(Classification(np.eye(2)[truth] * 0.8 + 0.1, truth, ("a", "b")))
    for name in ("balanced_accuracy", "macro_f1", "weighted_f1", "auc_roc", "average_precision"):
        assert (found[name].low, found[name].high) == (pytest.approx(0.8843, abs=1e-3), 1.0)


def test_exact_intervals_hold_the_truth_at_least_as_often_as_they_say() -> None:
    for share in (0.02, 0.3, 0.97):
        counts = np.random.default_rng(0).binomial(25, share, 400)
        ends = [share_interval(int(count), 25) for count in counts]
        assert np.mean([interval.low <= share <= interval.high for interval in ends]) >= 0.95
    assert share_interval(0, 0) == Interval(0.0, 1.0)


def test_a_part_of_many_rows_gives_the_interval_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    outcomes = Means({"score": random.normal(size=20_000)})
    whole = intervals(outcomes)["score"]
    monkeypatch.setattr("app.ml.evaluation.bootstrap._MAX_WORK", 400_000)
    part = intervals(outcomes)["score"]
    assert (part.low + part.high) / 2 == pytest.approx(outcomes.values["score"].mean(), abs=0.003)
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.25)


@dataclass(frozen=True)
class Counted(Means):
    """It notes how many weights it was measured under."""

    looks: list[tuple[int, ...]] = field(default_factory=list)

    def take(self, rows: NDArray[np.int64]) -> "Counted":
        return Counted(super().take(rows).values, self.looks)

    def measure(self, weights: Weights) -> dict[str, Values]:
        self.looks.append(weights.shape)
        return super().measure(weights)


@pytest.mark.parametrize("rows", [30, 3_000, 300_000])
def test_time_and_memory_are_bounded(rows: int) -> None:
    outcomes = Counted({"accuracy": (np.random.default_rng(0).random(rows) < 0.9).astype(float)})
    found = intervals(outcomes)["accuracy"]
    assert 0 < found.high - found.low < 3 / np.sqrt(rows)
    resamples = outcomes.looks[1:] if rows < 200_000 else outcomes.looks[2:]
    assert 200 <= sum(many for many, _ in resamples) <= 1000
    assert sum(many * wide for many, wide in resamples) <= 40_000_000
    assert all(many * wide <= 500_000 or many == 1 for many, wide in resamples)


def test_many_rows_of_many_classes_have_intervals_too() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 40_000)
    scores = random.random((40_000, 5)) + 0.5 * np.eye(5)[truth]
    found = intervals(Classification(scores / scores.sum(1, keepdims=True), truth, tuple("abcde")))
    assert 0.005 < found["accuracy"].high - found["accuracy"].low < 0.02
    assert 0.001 < found["auc_roc"].high - found["auc_roc"].low < 0.02
