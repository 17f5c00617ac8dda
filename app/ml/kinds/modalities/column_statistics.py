"""Statistics of a table's column over the train rows, collected block by block."""

import numpy as np

from app.ml.data.moments import Moments
from app.ml.interfaces import Rows
from app.ml.kinds.modalities.ranges import Range


class ColumnStatistics:
    """Statistics of a column's train rows, gathered block by block."""

    def __init__(self) -> None:
        self.moments = Moments()
        self.missing = False
        self.binary = True  # nothing but 0 and 1
        self.whole = True
        self.codes: set[int] = set()  # of a category

    def add(self, values: Rows, *, codes: bool) -> None:
        """Add values (n,), NaN = missing; with `codes` they are codes of categories."""
        present = values[~np.isnan(values)].astype(np.float64)
        self.missing |= len(present) < len(values)
        if codes:
            self.codes.update(np.unique(present).astype(int).tolist())
            return
        self.moments.add(present)
        self.binary = self.binary and bool(np.isin(present, (0, 1)).all())
        self.whole = self.whole and bool((present == np.floor(present)).all())

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and deviation; 1 where nothing varies."""
        return self.moments.mean, self.moments.scale

    @property
    def range(self) -> Range | None:
        """Least and greatest value; None where there is none."""
        return Range(low=self.moments.low, high=self.moments.high) if self.moments.count else None
