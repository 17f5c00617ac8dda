"""Confidence intervals, and the exact one of a share: n rows of which k are right.

Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934: the ends
are quantiles of beta distributions, so that 30 right answers of 30 have the interval [0.884, 1] and not [1, 1], which
is what any resampling of equal rows gives.
"""

from dataclasses import dataclass

from scipy.special import betaincinv

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a metric on other rows of the same kind, at `level`."""

    low: float
    high: float
    level: float = LEVEL


def share_interval(count: int, rows: int, level: float = LEVEL) -> Interval:
    """Return the exact interval of the share of which `count` of `rows` are a sample; [0, 1] without any row."""
    tail = (1 - level) / 2
    low = float(betaincinv(count, rows - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, rows - count, 1 - tail)) if count < rows else 1.0
    return Interval(low, high, level)
