"""Gains, and the verdict on them, against simulations and arithmetic of their own."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from app.ml.evaluation.paired_comparison import Gain, Rounds, gain
from worker.training.transfer_report.verdict import Comparison, judged, labels_needed

CONTROLS = ("majority", "raw_linear", "untrained", "scratch")


def of(value: float, **fields: bool) -> Rounds:
    """A hundred rows that all score the same."""
    return Rounds(np.full((1, 100), value), lasting=True, **fields)


def scores(random: np.random.Generator, share: float, rows: int = 400) -> Any:
    return (random.random((1, rows)) < share).astype(float)


def gained(*values: Any) -> Gain:
    found = gain(*values)
    assert found is not None
    return found


def test_without_noise_of_training_it_is_the_interval_of_a_mean_difference() -> None:
    random = np.random.default_rng(0)
    ours, others = scores(random, 0.8), scores(random, 0.6)
    found = gained(Rounds(ours, lasting=True), Rounds(others, lasting=True), None, 1)
    difference = (ours - others)[0]
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    assert found.value == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - 1.97 * error, abs=0.1 * error)
    assert found.highest == pytest.approx(difference.mean() + 1.97 * error, abs=0.1 * error)


def test_folds_that_share_rows_and_more_comparisons_widen_it() -> None:
    random = np.random.default_rng(1)
    ours, others = (Rounds(scores(random, share), lasting=True) for share in (0.8, 0.6))
    split, folds, four = (gained(ours, others, *how) for how in ((None, 1), (5, 1), (None, 4)))
    assert folds.high - folds.value == pytest.approx(1.5 * (split.high - split.value))
    assert (four.high, four.low) == (split.high, split.low)
    assert four.highest > split.highest


def test_the_noise_of_training_is_that_of_one_more_draw_of_new_weights() -> None:
    means = np.array([0.5, 0.6, 0.7])
    others = np.repeat(means[:, None], 50, axis=1)
    ours = Rounds(np.full((1, 50), 0.8), lasting=True)
    same, drawn = (gained(ours, Rounds(others, draws=draws), None, 1) for draws in (False, True))
    assert same.high - same.value == pytest.approx(t.ppf(0.975, 2) * 0.1 * math.sqrt(1 / 3))
    assert drawn.high - drawn.value == pytest.approx(t.ppf(0.975, 2) * 0.1 * math.sqrt(1 + 1 / 3))


def test_one_more_draw_of_the_same_is_seldom_a_gain() -> None:
    """Backbones that differ by luck alone: of a hundred, about 2.5 may be told to help."""
    random = np.random.default_rng(2)
    told = 0
    for _ in range(300):
        truth = 0.7 + 0.03 * random.standard_normal(6)
        rows = np.stack([scores(random, share)[0] for share in truth])
        told += gained(Rounds(rows[:1], lasting=True), Rounds(rows[1:], draws=True), None, 1).low > 0
    assert told <= 12


def test_few_rows_tell_nothing() -> None:
    assert gain(Rounds(np.ones((1, 5)), lasting=True), Rounds(np.zeros((1, 5)), lasting=True), None, 1) is None


def comparison(ours: Rounds | None, controls: dict[str, Rounds | None], **fields: Any) -> Comparison:
    usual: dict[str, Any] = {"missing": {}, "fewer": [], "labels": 80, "folds": None}
    return Comparison(ours, controls, **{**usual, **fields})


def all_at(value: float, **others: float) -> dict[str, Rounds | None]:
    return {name: of(others.get(name, value)) for name in CONTROLS}


def test_it_helps_only_where_it_beats_every_control() -> None:
    assert judged(comparison(of(0.8), all_at(0.5)))["verdict"] == "helps"
    equal = judged(comparison(of(0.8), all_at(0.5, scratch=0.8)))
    assert (equal["verdict"], equal["best_control"]) == ("no evidence", "scratch")
    assert "scratch" in equal["reason"]
    worse = judged(comparison(of(0.8), all_at(0.5, raw_linear=0.9)))
    assert (worse["verdict"], worse["best_control"]) == ("hurts", "raw_linear")
    assert worse["gain"]["value"] == pytest.approx(-0.1)
    assert worse["labels_saved"]["needed"] is None


def test_what_was_not_compared_is_told_and_is_no_evidence() -> None:
    controls = {**all_at(0.5), "scratch": None}
    found = judged(comparison(of(0.8), controls, missing={"scratch": "the budget was spent"}))
    assert found["verdict"] == "no evidence"
    assert found["controls"]["scratch"] == {
        "score": None,
        "trainings": 0,
        "gain": None,
        "reason": "the budget was spent",
    }
    assert "scratch: the budget was spent" in found["reason"]
    nothing = judged(comparison(None, dict.fromkeys(CONTROLS)))
    assert (nothing["verdict"], nothing["gain"], nothing["pretrained"]) == ("no evidence", None, None)


def test_what_was_trained_once_is_no_evidence_where_another_time_would_differ() -> None:
    once = Rounds(np.full((1, 100), 0.5), draws=True)
    for ours, worse in ((0.8, False), (0.2, True)):
        found = judged(comparison(of(ours), {**all_at(0.5 if not worse else 0.2), "untrained": once}))
        assert found["verdict"] == "no evidence"
        assert "once" in found["reason"]


def test_labels_needed_is_where_the_curve_crosses_in_the_logarithm() -> None:
    curve = [(80, 0.9), (40, 0.8), (20, 0.6), (10, 0.7)]
    assert labels_needed(curve, 0.8) == (pytest.approx(40), False)
    assert labels_needed(curve, 0.7) == (pytest.approx(math.sqrt(40 * 20)), False)
    assert labels_needed(curve, 0.65)[0] == pytest.approx(20 * 2**0.25), "what rises again is not looked at"
    assert labels_needed(curve, 0.5) == (10, True)


def test_labels_are_saved_down_to_the_best_control() -> None:
    fewer = [(40, 0.7), (20, 0.5)]
    found = judged(comparison(of(0.8), all_at(0.3, scratch=0.6), fewer=fewer))["labels_saved"]
    assert (found["needed"], found["saved"], found["or_fewer"]) == (29, 51, False)  # sqrt(40 * 20) = 28.3
    assert [point["labels"] for point in found["curve"]] == [80, 40, 20]
    assert judged(comparison(of(0.8), all_at(0.3)))["labels_saved"]["reason"].startswith("fewer labels were not tried")
