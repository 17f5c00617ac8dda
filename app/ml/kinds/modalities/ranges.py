"""The range of the values that training saw, and which values lie far outside of it."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from app.ml.fields import Real
from app.ml.interfaces import Rows
from app.ml.spec import Frozen


class Range(Frozen):
    """Least and greatest value of the train rows."""

    low: Real
    high: Real

    def __str__(self) -> str:
        return f"{self.low:.6g} to {self.high:.6g}"

    @property
    def near(self) -> tuple[float, float]:
        """The least and the greatest value that are not far: outside by no more than the range is wide.

        A constant's range counts as its size wide.
        """
        width = self.high - self.low or abs(self.low) or 1.0
        return self.low - width, self.high + width

    def is_far(self, value: float) -> bool:
        """Whether a value lies far outside."""
        low, high = self.near
        return not low <= value <= high


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest value of each of D columns, (D,) both; infinite where a column has none."""

    low: Rows
    high: Rows

    @classmethod
    def of_none(cls, columns: int) -> Self:
        """Return the bounds of no rows."""
        return cls(np.full(columns, np.inf), np.full(columns, -np.inf))

    def with_rows(self, rows: Rows) -> Self:
        """Return the bounds of rows (n, D) too; NaN = missing."""
        return type(self)(
            np.fmin(self.low, np.fmin.reduce(rows, axis=0, initial=np.inf)),
            np.fmax(self.high, np.fmax.reduce(rows, axis=0, initial=-np.inf)),
        )

    def joined(self, index: int, known: Range | None) -> Range | None:
        """Return the range of a column and of what was `known` before; None where either is not known."""
        low, high = float(self.low[index]), float(self.high[index])
        if known is None or not (math.isfinite(low) and math.isfinite(high)):
            return known
        return Range(low=min(low, known.low), high=max(high, known.high))
