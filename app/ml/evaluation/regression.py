"""Metrics of regressors, and of the intervals that they may give."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.outcomes import Outcomes, Values, Weights, mean, ratio


@dataclass(frozen=True)
class Regression(Outcomes):
    """Values (N,) against numbers (N,), every one known; `low` and `high` (N,) where the model says how sure it is."""

    values: Values
    truth: Values
    low: Values | None = None
    high: Values | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: NDArray[np.int64]) -> "Regression":
        """Some of the rows."""
        low, high = (None if end is None else end[rows] for end in (self.low, self.high))
        return Regression(self.values[rows], self.truth[rows], low, high)

    def measure(self, weights: Weights) -> dict[str, Values]:
        """mae, rmse and r2, undefined where the truth never varies; and coverage and interval_width."""
        errors = self.values - self.truth
        squared = mean(weights, errors**2)
        ends = {} if self.low is None or self.high is None else of_intervals(self.low, self.high, self.truth)
        return {
            "mae": mean(weights, np.abs(errors)),
            "rmse": np.sqrt(squared),
            "r2": 1 - ratio(squared, _variance(weights, self.truth)),
            **{name: mean(weights, values) for name, values in ends.items()},
        }


def of_intervals(low: Values, high: Values, truth: Values) -> dict[str, Values]:
    """Of each row (N,) whether its interval holds the truth, and how wide it is; their means are the metrics."""
    return {"coverage": ((low <= truth) & (truth <= high)).astype(np.float64), "interval_width": high - low}


def _variance(weights: Weights, truth: Values) -> Values:
    """Weighted variances (R,); exactly 0 where one number alone has a weight."""
    if len(truth) == 0:
        return np.zeros(len(weights))
    shifted = truth - truth[0]
    centre = mean(weights, shifted)
    return mean(weights, shifted**2) - centre**2
