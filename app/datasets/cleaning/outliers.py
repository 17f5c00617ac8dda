"""Numbers of a table far from the others of their column.

mad: z = 0.6745 (x - median) / MAD, where MAD is the median of |x - median| (Iglewicz and Hoaglin 1993); a number is an
outlier where |z| > k. iqr: outside [Q1 - k (Q3 - Q1), Q3 + k (Q3 - Q1)] (Tukey 1977). Neither is moved by the outliers
themselves; both are taken from at most 10,000 rows, evenly spaced. A column of which half the values or more are the
same has no such scale and is left alone.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bools, Floats, Ints

NORMAL = 0.6745  # the third quartile of the normal distribution
SAMPLED = 10_000
DEFAULT_K = {"mad": 5.0, "iqr": 3.0}


class Outliers(CleaningStep):
    """Find numbers far from the others of their column, and report, clip, blank or remove them."""

    modalities = ("table",)
    kind: Literal["outliers"] = "outliers"
    method: Literal["mad", "iqr"] = Field(
        default="mad", description="Distance from the median by the median deviation, or from the quartiles."
    )
    k: float | None = Field(
        default=None, gt=0, le=1000, description="How far is too far; null: 5 deviations, or 3 interquartile ranges."
    )
    action: Literal["report", "clip", "missing", "remove"] = Field(
        default="report",
        description="Report them, move them to the border, make them missing values, or remove their rows.",
    )
    columns: tuple[str, ...] | None = Field(
        default=None, max_length=4096, description="Columns of numbers to look at; null: all of them."
    )

    def run(self, work: Work) -> None:
        """Look at each column of numbers over the rows that were kept when the step began."""
        chosen = self._chosen(work)
        places = work.kept()
        found: list[tuple[int, str]] = []
        for start, block in work.blocks(places):
            for j in range(block.shape[1]):
                if start + j in chosen:
                    found += self._column(start + j, block[:, j], places, work)
        if found and self.action == "report":
            examples = [text for _, text in sorted(found, reverse=True)]
            text = f"values far from the others of their column, by {self.method}, in {len(found)} columns"
            self.record(work, sum(count for count, _ in found), "values", text, examples)

    def _chosen(self, work: Work) -> set[int]:
        numbers = {spec.name: j for j, spec in enumerate(work.frame.columns) if spec.type == "number"}
        if self.columns is None:
            return set(numbers.values())
        unknown = [name for name in self.columns if name not in numbers]
        if unknown:
            message = f"the step outliers names {unknown[0][:100]!r}, which is no input column of numbers"
            raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("cleaning", "outliers", "columns"), message)])
        return {numbers[name] for name in self.columns}

    def _column(self, j: int, values: Floats, places: Ints, work: Work) -> list[tuple[int, str]]:
        """Settle one column and return how many values lie outside, with a sentence, if any do."""
        sample = values[:: -(-len(values) // SAMPLED)]
        bounds = limits(sample, self.method, self.k or DEFAULT_K[self.method])
        outside = np.empty(0, np.int64) if bounds is None else np.flatnonzero(_outside(values, bounds))
        if bounds is None or not len(outside):
            return []
        examples = [f"{work.name(places[i])}: {values[i]:.6g}" for i in outside[:5]]
        name, (low, high) = work.frame.columns[j].name, bounds
        text = f"column {name}: {len(outside)} values lie outside {low:.6g} .. {high:.6g}"
        if self.action != "report":
            self.record(work, len(outside), "values", f"{text}, by {self.method}", examples)
            self._act(j, places[outside], values[outside], bounds, work)
        return [(len(outside), f"{text} ({examples[0]})")]

    def _act(self, j: int, places: Ints, values: Floats, bounds: tuple[float, float], work: Work) -> None:
        if self.action == "remove":
            fresh = places[work.keep[places]]
            work.remove(fresh, "outlier", f"an outlier in column {work.frame.columns[j].name}")
        else:
            work.writable()[places, j] = np.clip(values, *bounds) if self.action == "clip" else np.nan


def _outside(values: Floats, bounds: tuple[float, float]) -> Bools:
    return (values < bounds[0]) | (values > bounds[1])


def limits(values: Floats, method: str, k: float) -> tuple[float, float] | None:
    """Return the least and the largest number that is no outlier, or None where the column has no scale."""
    present = values[~np.isnan(values)]
    if not len(present):
        return None
    low, middle, high = np.quantile(present, (0.25, 0.5, 0.75))
    if method == "iqr":
        reach = k * (high - low)
        return (float(low - reach), float(high + reach)) if reach > 0 else None
    reach = k * float(np.median(np.abs(present - middle))) / NORMAL
    return (float(middle - reach), float(middle + reach)) if reach > 0 else None
