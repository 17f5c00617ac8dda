"""Predictions with the truth, and metrics as functions of row weights, which give a metric and its resamples alike."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.curve import Curve

Values = NDArray[np.float64]
Weights = NDArray[np.float64]  # (R, N): how often each of N rows counts, R times over


class Outcomes(ABC):
    """Predictions for N rows, with the truth."""

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def take(self, rows: NDArray[np.int64]) -> Self:
        """Some of the rows (n,)."""

    @abstractmethod
    def measure(self, weights: Weights) -> dict[str, Values]:
        """Every metric (R,) under each of R weightings (R, N) of the rows; NaN where one is undefined."""

    def shares(self) -> dict[str, Values]:
        """Return, of the metrics that are shares of rows, whether each row (N,) counts: 1, 0, or NaN for not at all."""
        return {}

    @property
    def cost(self) -> int:
        """Numbers that a measurement reads per row."""
        return 1

    def details(self) -> dict[str, Any]:
        """Metrics that are no single number, as JSON."""
        return {}

    def curves(self, head: str) -> list[Curve]:
        """Curves, labelled with the head's name."""
        return []

    def metrics(self) -> dict[str, Any]:
        """Every metric as JSON, null where it is undefined; and how many rows there were."""
        metrics = self.measure(np.ones((1, len(self))))
        return {
            **{name: finite(float(value[0])) for name, value in metrics.items()},
            **self.details(),
            "rows": len(self),
        }


@dataclass(frozen=True)
class Means(Outcomes):
    """Metrics that are means of values of rows, each (N,): 1 where an answer is right, say, or its squared error."""

    values: Mapping[str, Values]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def take(self, rows: NDArray[np.int64]) -> "Means":
        """Some of the rows."""
        return Means({name: values[rows] for name, values in self.values.items()})

    def measure(self, weights: Weights) -> dict[str, Values]:
        """Weighted means."""
        return {name: mean(weights, values) for name, values in self.values.items()}


def mean(weights: Weights, values: Values) -> Values:
    """Means (R,) of values (N,) under weights (R, N); NaN where nothing counts."""
    return ratio(weights @ values, weights.sum(1))


def ratio(above: Values, below: Values, otherwise: float = math.nan) -> Values:
    """`above` / `below`, and `otherwise` where `below` is 0."""
    defined = below > 0
    return np.where(defined, above / np.where(defined, below, 1), otherwise)


def finite(value: float) -> float | None:
    """The value, or None where JSON could not hold it: NaN and infinity."""
    return value if math.isfinite(value) else None
