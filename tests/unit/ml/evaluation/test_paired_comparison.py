"""Intervals of paired gains against formulas and simulations."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from app.ml.evaluation.paired_comparison import Gain, RoundScores, gain_in_prospect, paired_gain


def scores(random: np.random.Generator, share: float, rows: int = 400) -> Any:
    return (random.random((1, rows)) < share).astype(float)


def gained(*values: Any) -> Gain:
    gain = paired_gain(*values)
    assert gain is not None
    return gain


def test_without_noise_of_training_it_is_the_interval_of_a_mean_difference() -> None:
    random = np.random.default_rng(0)
    ours, others = scores(random, 0.8), scores(random, 0.6)
    gain = gained(RoundScores(ours, deterministic=True), RoundScores(others, deterministic=True), None, 1)
    difference = (ours - others)[0]
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    assert gain.value == pytest.approx(difference.mean())
    assert gain.low == pytest.approx(difference.mean() - 1.97 * error, abs=0.1 * error)
    assert gain.simultaneous_high == pytest.approx(difference.mean() + 1.97 * error, abs=0.1 * error)


def test_folds_that_share_rows_and_more_comparisons_widen_it() -> None:
    random = np.random.default_rng(1)
    ours, others = (RoundScores(scores(random, share), deterministic=True) for share in (0.8, 0.6))
    split, folds, four = (gained(ours, others, *how) for how in ((None, 1), (5, 1), (None, 4)))
    assert folds.high - folds.value == pytest.approx(1.5 * (split.high - split.value))
    assert (four.high, four.low) == (split.high, split.low)
    assert four.simultaneous_high > split.simultaneous_high


def test_the_noise_of_training_is_that_of_one_more_draw_of_new_weights() -> None:
    means = np.array([0.5, 0.6, 0.7])
    others = np.repeat(means[:, None], 50, axis=1)
    ours = RoundScores(np.full((1, 50), 0.8), deterministic=True)
    same, drawn = (gained(ours, RoundScores(others, fresh_weights=draws), None, 1) for draws in (False, True))
    assert same.high - same.value == pytest.approx(t.ppf(0.975, 2) * 0.1 * math.sqrt(1 / 3))
    assert drawn.high - drawn.value == pytest.approx(t.ppf(0.975, 2) * 0.1 * math.sqrt(1 + 1 / 3))


def test_one_more_draw_of_the_same_is_seldom_a_gain() -> None:
    """Backbones that differ by luck alone: of a hundred, about 2.5 may be told to help."""
    random = np.random.default_rng(2)
    significant = 0
    for _ in range(300):
        truth = 0.7 + 0.03 * random.standard_normal(6)
        rows = np.stack([scores(random, share)[0] for share in truth])
        gain = gained(RoundScores(rows[:1], deterministic=True), RoundScores(rows[1:], fresh_weights=True), None, 1)
        significant += gain.low > 0
    assert significant <= 12


def test_few_rows_tell_nothing() -> None:
    assert (
        paired_gain(
            RoundScores(np.ones((1, 5)), deterministic=True), RoundScores(np.zeros((1, 5)), deterministic=True), None, 1
        )
        is None
    )


def test_what_more_rounds_may_change_is_the_noise_of_training_alone() -> None:
    random = np.random.default_rng(3)
    same = np.repeat(scores(random, 0.6), 3, axis=0)
    noisy = same + np.array([[-0.05], [0.0], [0.05]])
    ours = RoundScores(np.repeat(scores(random, 0.7), 3, axis=0))
    rows_alone, noise_too = (RoundScores(each, fresh_weights=True) for each in (same, noisy))
    now = gained(ours, rows_alone, None, 4)
    later = gain_in_prospect(ours, rows_alone, None, 4, 10)
    assert later is not None
    assert (later.low, later.simultaneous_high) == pytest.approx((now.low, now.simultaneous_high))
    now, later = gained(ours, noise_too, None, 4), gain_in_prospect(ours, noise_too, None, 4, 10)
    assert later is not None
    assert later.value == now.value
    shift = 2 * 0.05 * math.sqrt(1 / 3 - 1 / 10)
    rows = gained(ours, rows_alone, None, 4)
    runs = t.ppf(0.975, 9) * 0.05 * math.sqrt(1 + 1 / 10)
    assert later.low == pytest.approx(later.value - math.hypot(rows.value - rows.low, runs) + shift)
    none_left = gain_in_prospect(ours, noise_too, None, 4, 3)
    assert none_left is not None
    assert none_left.low == pytest.approx(now.low)


def test_a_level_beyond_the_resamples_is_wider_as_students_is() -> None:
    random = np.random.default_rng(4)
    ours, others = (RoundScores(scores(random, share), deterministic=True) for share in (0.8, 0.6))
    wide, usual = (gained(ours, others, None, 1, level) for level in (0.9999, 0.99))
    ratio = t.ppf(0.99995, 399) / t.ppf(0.995, 399)
    assert wide.value - wide.low == pytest.approx(ratio * (usual.value - usual.low))
