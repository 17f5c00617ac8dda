"""What a difference between two ways of learning is worth: paired over rows, and wider by the noise of training.

Answers of both to the same n rows are scored, row by row, as means over the rounds of training. With d_i the difference
of row i the gain is their mean, and its interval the row part and the run part together:

    rows   bootstrap interval of the mean of d_i (app.ml.evaluation.bootstrap). In K-fold cross-validation the K
           trainings share most of their rows, so that it is stretched by sqrt(1 + K / (K - 1)) (Nadeau and Bengio,
           "Inference for the generalization error", 2003: 1 row is held out for K - 1 that are learned from)
    runs   t sqrt(s_a^2 / a + s_b^2 (f + 1 / b)) by the deviations s of the means of a and b rounds, degrees of freedom
           after Welch and Satterthwaite (1946); f = 1 where the second started from new weights each time: pretrained
           weights must be better than one more draw of those, not just than their mean

Half-widths add as squares.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from app.ml.evaluation.bootstrap import LEVEL, Interval, paired
from app.ml.evaluation.outcomes import Means

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rounds:
    """One way's scores (R, n): R trainings, n rows. `draws`: each began with new weights; `lasting`: one is all."""

    scores: Scores
    draws: bool = False
    lasting: bool = False  # a further round would be the same

    @property
    def mean(self) -> float:
        """Over everything."""
        return float(self.scores.mean())

    @property
    def of_rounds(self) -> Scores:
        """Every round's mean, (R,)."""
        means: Scores = self.scores.mean(1)
        return means

    @property
    def noisy(self) -> bool:
        """Whether its noise is known: not from one round, where another would differ."""
        return self.lasting or len(self.scores) > 1


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of two means, where it lies at 95 %, and how high at most beside others that are looked at too."""

    value: float
    low: float
    high: float
    highest: float


def gain(ours: Rounds, others: Rounds, folds: int | None, comparisons: int) -> Gain | None:
    """What `ours` scores more than `others` on the same rows, None on too few of them.

    `folds`: where rows were held out in so many; `comparisons`: how many such gains are looked at.
    """
    usual = _interval(ours, others, folds, LEVEL)
    cautious = _interval(ours, others, folds, 1 - (1 - LEVEL) / comparisons)
    if usual is None or cautious is None:
        return None
    return Gain(ours.mean - others.mean, usual.low, usual.high, cautious.high)


def _interval(ours: Rounds, others: Rounds, folds: int | None, level: float) -> Interval | None:
    """The row part and the run part together."""
    first, second = (Means({"score": one.scores.mean(0)}) for one in (ours, others))
    found = paired(first, second, level).get("score")
    if found is None:
        return None
    stretch = 1.0 if folds is None else math.sqrt(1 + folds / (folds - 1))
    value, runs = found.difference, _of_runs(ours, others, level)
    below = math.hypot(stretch * (value - found.interval.low), runs)
    above = math.hypot(stretch * (found.interval.high - value), runs)
    return Interval(value - below, value + above, level)


def _of_runs(ours: Rounds, others: Rounds, level: float) -> float:
    """Half of the run part."""
    drawn = float(others.draws) + 1 / len(others.scores)
    parts = [
        (float(one.of_rounds.var(ddof=1)) * factor, len(one.scores) - 1)
        for one, factor in ((ours, 1 / len(ours.scores)), (others, drawn))
        if len(one.scores) > 1
    ]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / left for part, left in parts)
    return float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
