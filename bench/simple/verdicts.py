"""Scores per test row, their means and standard errors, and what the service has to reach."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sources import Array

from bench.simple.baselines import BOOSTING, Result
from bench.simple.sets import Draw

BOOSTINGS, SECONDS = 5, 60.0  # the service may take so many times what boosting takes, or so many CPU seconds

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Scores:
    """What a result is worth: of each test row, so that its mean is the score in percent, and its CPU seconds.

    A row's score is 100 or 0 for a class. For a number it is 100 (1 - e^2 / v), of its error e and the variance v of
    the draw's true values; so the mean is R2.
    """

    rows: tuple[float, ...]
    cpu_seconds: float

    @property
    def mean(self) -> float:
        """The accuracy or R2, in percent."""
        return float(np.mean(self.rows))


def scores(draw: Draw, result: Result) -> Scores:
    """Score the answers of a draw's test rows; what was not answered is wrong, or no better than the mean."""
    if draw.set.regression:
        answers = np.array([np.nan if answer is None else answer for answer in result.answers], dtype=float)
        rows = 100 * (1 - (answers - draw.truth) ** 2 / draw.truth.var())
        rows = np.nan_to_num(rows)
    else:
        rows = 100.0 * (result.answers.astype(str) == draw.truth.astype(str))
    return Scores(tuple(np.round(rows, 4).tolist()), result.cpu_seconds)


@dataclass(frozen=True)
class Cell:
    """One set with so many labels: of each draw its test rows, and the scores of the service and of simple things."""

    set: str
    modality: str
    labels: str
    tests: Sequence[Array]
    service: Sequence[Scores]
    simple: dict[str, Sequence[Scores]]
    taken: str = ""  # what the service took, of each draw

    @property
    def best(self) -> str:
        """The simple thing with the best mean."""
        return max(self.simple, key=lambda name: mean(self.simple[name]))

    @property
    def gain(self) -> float:
        """How many points the service is above the best simple thing."""
        return mean(self.service) - mean(self.simple[self.best])

    @property
    def error(self) -> float:
        """The standard error of the gain: of the paired differences of test rows, pooled over the draws.

        A row that several draws ask about counts as one cluster. The draws of the labels themselves are not in it.
        """
        pairs = zip(self.service, self.simple[self.best], strict=True)
        differences = [np.subtract(ours.rows, theirs.rows) for ours, theirs in pairs]
        return clustered_error(np.concatenate(differences), np.concatenate(self.tests))

    @property
    def held(self) -> bool:
        """Whether the service is at most one standard error below the best simple thing."""
        return self.gain >= -self.error - _ROUNDING

    @property
    def cpu_seconds(self) -> float:
        """The CPU seconds of a job, mean over the draws."""
        return _seconds(self.service)

    @property
    def boosting_seconds(self) -> float:
        """The CPU seconds of gradient boosting, 0 where it was not run."""
        return _seconds(self.simple.get(BOOSTING, ()))

    @property
    def cheap(self) -> bool:
        """Whether every draw stays within the CPU seconds that it may take."""
        return max(one.cpu_seconds for one in self.service) <= max(SECONDS, BOOSTINGS * self.boosting_seconds)


def mean(draws: Sequence[Scores]) -> float:
    """Return the mean score over the draws."""
    return float(np.mean([draw.mean for draw in draws]))


def clustered_error(values: Array, clusters: Array) -> float:
    """Return the standard error of the mean of values, of which those of a cluster are not independent."""
    _, places = np.unique(clusters, return_inverse=True)
    sums = np.bincount(places, values - values.mean())
    return math.sqrt(float(sums @ sums) * len(sums) / max(1, len(sums) - 1)) / len(values)


def _seconds(draws: Sequence[Scores]) -> float:
    return float(np.mean([draw.cpu_seconds for draw in draws])) if draws else 0.0
