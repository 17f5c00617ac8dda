"""The difference between two ways of training, with an interval: paired over rows, wider by the noise of training.

Both score the same n rows, row by row, as means over the rounds of training. With d_i the difference of row i, the gain
is the mean of d_i, and its interval puts the row part and the run part together:

    rows   bootstrap interval of the mean of d_i (app.ml.evaluation.bootstrap). In K-fold cross-validation the K
           trainings share most of their rows, so that it is stretched by sqrt(1 + K / (K - 1)) (Nadeau and Bengio,
           "Inference for the generalization error", 2003: 1 row is held out for K - 1 that are learned from)
    runs   t sqrt(s_a^2 / a + s_b^2 (f + 1 / b)) by the deviations s of the means of a and b rounds, degrees of freedom
           after Welch and Satterthwaite (1946); f = 1 where the second started from new weights each time: pretrained
           weights must be better than one more draw of those, not just than their mean

The two parts are independent, so their half-widths add as squares.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from app.ml.evaluation.bootstrap import paired
from app.ml.evaluation.interval import LEVEL, Interval
from app.ml.evaluation.outcomes import Means

Scores = NDArray[np.float64]

_MAX_BOOTSTRAP_LEVEL = 0.99


@dataclass(frozen=True, slots=True)
class RoundScores:
    """The scores (R, n) of one way of training: R rounds of training, n rows."""

    scores: Scores
    fresh_weights: bool = False  # each round began with newly drawn weights
    deterministic: bool = False  # a further round would give the same scores

    @property
    def mean(self) -> float:
        """The mean score over rounds and rows."""
        return float(self.scores.mean())

    @property
    def round_means(self) -> Scores:
        """The mean score of every round, (R,)."""
        means: Scores = self.scores.mean(1)
        return means

    @property
    def noise_is_known(self) -> bool:
        """Whether the noise of training is known: not from a single round, where another one would differ."""
        return self.deterministic or len(self.scores) > 1


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of two mean scores, and its interval."""

    value: float
    low: float
    high: float
    simultaneous_high: float  # the upper end that holds for all comparisons at once (Bonferroni)


def paired_gain(
    ours: RoundScores, others: RoundScores, folds: int | None, comparisons: int, level: float = LEVEL
) -> Gain | None:
    """How much more `ours` scores than `others` on the same rows; None on too few rows.

    `folds`: into how many the rows were cut to hold them out, None without cross-validation; `comparisons`: how many
    such comparisons are judged together.
    """
    single = _interval(ours, others, folds, level)
    simultaneous = _interval(ours, others, folds, 1 - (1 - level) / comparisons)
    if single is None or simultaneous is None:
        return None
    return Gain(ours.mean - others.mean, single.low, single.high, simultaneous.high)


def gain_in_prospect(
    ours: RoundScores, others: RoundScores, folds: int | None, comparisons: int, rounds: int, level: float = LEVEL
) -> Gain | None:
    """The gain as it may yet be after `rounds` rounds in all: by the same deviations, its ends as far out as may be.

    `low` is as high as it may become, and both upper ends as low: the mean moves by two standard errors at most.
    None on too few rows.
    """
    single = _interval(ours, others, folds, level, rounds)
    simultaneous = _interval(ours, others, folds, 1 - (1 - level) / comparisons, rounds)
    if single is None or simultaneous is None:
        return None
    # The mean of all rounds differs from that of the first a by a variance of s^2 (1 / a - 1 / rounds).
    variance = sum(
        float(each.round_means.var(ddof=1)) * (1 / len(each.scores) - 1 / max(rounds, len(each.scores)))
        for each in (ours, others)
        if len(each.scores) > 1
    )
    shift = 2 * math.sqrt(variance)
    return Gain(ours.mean - others.mean, single.low + shift, single.high - shift, simultaneous.high - shift)


def _interval(
    ours: RoundScores, others: RoundScores, folds: int | None, level: float, rounds: int = 0
) -> Interval | None:
    """The interval of the gain at this level: the row part, and the run part of at least `rounds` rounds, together."""
    # Averaging over rounds first leaves one score per row, (n,): the bootstrap resamples rows, not trainings.
    first, second = (Means({"score": each.scores.mean(0)}) for each in (ours, others))
    rows = paired(first, second, min(level, _MAX_BOOTSTRAP_LEVEL)).get("score")
    if rows is None:
        return None
    stretch = 1.0 if folds is None else math.sqrt(1 + folds / (folds - 1))
    if level > _MAX_BOOTSTRAP_LEVEL:  # a thousand resamples do not show such quantiles: Student's t does
        freedom = ours.scores.shape[1] - 1
        stretch *= float(stdtrit(freedom, (1 + level) / 2) / stdtrit(freedom, (1 + _MAX_BOOTSTRAP_LEVEL) / 2))
    value, runs = rows.difference, _run_half_width(ours, others, level, rounds)
    # The bootstrap interval need not be symmetric: each side is widened by itself.
    below = math.hypot(stretch * (value - rows.interval.low), runs)
    above = math.hypot(stretch * (rows.interval.high - value), runs)
    return Interval(value - below, value + above, level)


def _run_half_width(ours: RoundScores, others: RoundScores, level: float, rounds: int) -> float:
    """Half the width of the interval that the noise of training alone gives, after at least `rounds` rounds."""
    counts = [max(rounds, len(each.scores)) for each in (ours, others)]
    # One more draw of new weights varies by the whole variance (f = 1), and the mean of b rounds by its error.
    factors = [1 / counts[0], float(others.fresh_weights) + 1 / counts[1]]
    # (variance, degrees of freedom) of each side that was trained more than once; the rest is deterministic.
    parts = [
        (float(each.round_means.var(ddof=1)) * factor, count - 1)
        for each, factor, count in zip((ours, others), factors, counts, strict=True)
        if len(each.scores) > 1
    ]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return 0.0
    # Welch and Satterthwaite: the degrees of freedom of a sum of two variances that may differ.
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
