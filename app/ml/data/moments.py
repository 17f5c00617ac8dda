"""Mean and deviation of numbers that come in pieces, so that no more than a piece is in memory. NumPy only."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_DEVIATION = 1e-12  # of the mean: smaller ones are what is left of rounding


@dataclass(slots=True)
class Moments:
    """Count, bounds, mean and deviation of values that come in pieces; pieces are joined as Chan et al. (1983) do."""

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Take in a piece of any shape; NaN = missing."""
        present = values[~np.isnan(values)]
        if not len(present):
            return
        mean, count = float(present.mean()), len(present)
        total = self.count + count
        gap = mean - self.mean
        self.squares += float(np.square(present - mean).sum()) + gap**2 * self.count * count / total
        self.mean += gap * (count / total)
        self.count = total
        self.low, self.high = min(self.low, float(present.min())), max(self.high, float(present.max()))

    @property
    def std(self) -> float:
        """Deviation of what was taken in; 0 of nothing."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    @property
    def scale(self) -> float:
        """Deviation to divide by; 1 where nothing varies, or by no more than sums in float64 are off."""
        return self.std if self.std > MIN_DEVIATION * abs(self.mean) else 1.0

    def summary(self) -> dict[str, Any]:
        """Return what a report says; null where nothing is."""
        if not self.count:
            return {"count": 0} | dict.fromkeys(("min", "max", "mean", "std"))
        return {"count": self.count, "min": self.low, "max": self.high, "mean": self.mean, "std": self.std}
