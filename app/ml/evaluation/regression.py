"""Metrics of regressors, and of the intervals that they may give."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation import curve_builders
from app.ml.evaluation.classification import mean_of_defined
from app.ml.evaluation.curve import Curve
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

    def shares(self) -> dict[str, Values]:
        """Coverage, where there are intervals."""
        if self.low is None or self.high is None:
            return {}
        return {"coverage": of_intervals(self.low, self.high, self.truth)["coverage"]}

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

    def curves(self, head: str) -> list[Curve]:
        """Predictions, each with its interval."""
        return [curve_builders.predictions(head, {head: _points(self)})]


@dataclass(frozen=True)
class Regressions(Outcomes):
    """Several numbers of the same N rows, by target, NaN where one is not known; units may differ, so few are means."""

    targets: Mapping[str, Regression]

    def __len__(self) -> int:
        return len(next(iter(self.targets.values())))

    def take(self, rows: NDArray[np.int64]) -> "Regressions":
        """Some of the rows."""
        return Regressions({name: regression.take(rows) for name, regression in self.targets.items()})

    @property
    def cost(self) -> int:
        """One number a target."""
        return len(self.targets)

    def measure(self, weights: Weights) -> dict[str, Values]:
        """r2 and coverage: means over the targets."""
        metrics = [regression.measure(weights[:, rows]) for rows, regression in map(_known, self.targets.values())]
        return {
            name: mean_of_defined(np.stack([of_target[name] for of_target in metrics])) for name in ("r2", "coverage")
        }

    def curves(self, head: str) -> list[Curve]:
        """predictions, a line a target."""
        return [
            curve_builders.predictions(
                head, {name: _points(_known(regression)[1]) for name, regression in self.targets.items()}
            )
        ]

    def details(self) -> dict[str, Any]:
        """Every target's own metrics."""
        return {"targets": {name: _known(regression)[1].metrics() for name, regression in self.targets.items()}}


def _known(regression: Regression) -> tuple[NDArray[np.int64], Regression]:
    """The rows where the truth is known, and what came of them."""
    rows = np.flatnonzero(~np.isnan(regression.truth))
    return rows, regression.take(rows)


def _points(regression: Regression) -> tuple[Values, Values, Values | None, Values | None]:
    return regression.truth, regression.values, regression.low, regression.high


def of_intervals(low: Values, high: Values, truth: Values) -> dict[str, Values]:
    """Whether each row's interval holds the truth, and its width, each (N,); their means are the metrics."""
    return {"coverage": ((low <= truth) & (truth <= high)).astype(np.float64), "interval_width": high - low}


def _variance(weights: Weights, truth: Values) -> Values:
    """Weighted variances (R,); exactly 0 where one number alone has a weight."""
    if len(truth) == 0:
        return np.zeros(len(weights))
    # Shifted by one of the numbers, so that a constant gives exactly 0 and large means lose no digits.
    shifted = truth - truth[0]
    centre = mean(weights, shifted)
    return mean(weights, shifted**2) - centre**2
