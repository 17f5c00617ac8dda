"""Confidence intervals, and the exact one of a share: n rows of which k are right.

Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934: the ends
are quantiles of beta distributions, so that 30 right answers of 30 have the interval [0.884, 1] and not [1, 1], which
is what any resampling of equal rows gives.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Values = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a metric on other rows of the same kind, at `level`."""

    low: float
    high: float
    level: float = LEVEL


def share_interval(count: int, rows: int, level: float = LEVEL) -> Interval:
    """Return the exact interval of the share of which `count` of `rows` are a sample; [0, 1] without any row."""
    low, high = share_intervals(np.array([count]), np.array([rows]), level)
    return Interval(low.item(), high.item(), level)


def share_intervals(counts: NDArray[Any], rows: NDArray[Any], level: float = LEVEL) -> tuple[Values, Values]:
    """Return the ends (n,) of the exact intervals of several shares, `counts` of `rows` each, both (n,)."""
    tail = (1 - level) / 2
    # No beta distribution has a parameter of 0 (NaN): without a right row the interval begins at 0, without a wrong
    # one it ends at 1.
    low = np.nan_to_num(betaincinv(counts, rows - counts + 1, tail), nan=0.0)
    high = np.nan_to_num(betaincinv(counts + 1, rows - counts, 1 - tail), nan=1.0)
    return low, high
