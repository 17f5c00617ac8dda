"""Numbers of a table far from the others of their column, be it an input or a target.

mad: z = 0.6745 (x - median) / MAD, where MAD is the median of |x - median| (Iglewicz and Hoaglin 1993); a number is an
outlier where |z| > k. iqr: outside [Q1 - k (Q3 - Q1), Q3 + k (Q3 - Q1)] (Tukey 1977). Neither is moved by the outliers
themselves; both are computed from at most 10,000 rows, evenly spaced. A column of which half the values or more are
equal has no such scale and no outliers.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Floats, Ints

NORMAL_QUARTILE = 0.6745  # the third quartile of the normal distribution
MAX_SAMPLED = 10_000
DEFAULT_K = {"mad": 5.0, "iqr": 3.0}


class Outliers(CleaningStep):
    """Find numbers far from the others of their column, and report, clip, blank or remove them."""

    modalities = ("table",)
    kind: Literal["outliers"] = "outliers"
    method: Literal["mad", "iqr"] = Field(
        default="mad",
        description="Distance from the median in median deviations, or from the quartiles in interquartile ranges.",
    )
    k: float | None = Field(
        default=None, gt=0, le=1000, description="Maximum distance; null: 5 deviations, or 3 interquartile ranges."
    )
    action: Literal["report", "clip", "missing", "remove"] = Field(
        default="report",
        description="Report them, move them to the nearest bound, make them missing values, or remove their rows.",
    )
    columns: tuple[str, ...] | None = Field(
        default=None, max_length=4096, description="Columns of numbers to check; null: all of them, targets too."
    )

    def run(self, state: CleaningState) -> None:
        """Check each column of numbers over the rows that were kept when the step began."""
        chosen = self._chosen(state)
        positions = state.kept()
        findings: list[tuple[int, str]] = []
        for start, block in state.blocks(positions):
            for j in range(block.shape[1]):
                if start + j in chosen:
                    name = state.frame.columns[start + j].name
                    findings += self._clean_column(name, block[:, j], positions, state, start + j)
        for name, target in self._chosen_targets(state).items():
            findings += self._clean_column(name, state.frame.targets[positions, target], positions, state, None)
        if findings and self.action == "report":
            examples = [text for _, text in sorted(findings, reverse=True)]
            text = f"values far from the others of their column, by {self.method}, in {len(findings)} columns"
            self.record(state, sum(count for count, _ in findings), "values", text, examples)

    def _chosen(self, state: CleaningState) -> set[int]:
        """Return the indices of the columns to check."""
        numbers = {spec.name: j for j, spec in enumerate(state.frame.columns) if spec.type == "number"}
        if self.columns is None:
            return set(numbers.values())
        targets = {spec.name for spec in state.frame.target_specs if spec.type == "number"}
        unknown = [name for name in self.columns if name not in numbers and name not in targets]
        if unknown:
            message = f"the step outliers names {unknown[0][:100]!r}, which is no column of numbers"
            raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("cleaning", "outliers", "columns"), message)])
        return {numbers[name] for name in self.columns if name in numbers}

    def _chosen_targets(self, state: CleaningState) -> dict[str, int]:
        """Return the places of the targets to check, by name."""
        targets = {spec.name: t for t, spec in enumerate(state.frame.target_specs) if spec.type == "number"}
        return {name: t for name, t in targets.items() if self.columns is None or name in self.columns}

    def _clean_column(
        self, name: str, values: Floats, positions: Ints, state: CleaningState, column: int | None
    ) -> list[tuple[int, str]]:
        """Treat the outliers of an input or, where `column` is None, of a target; return their number with a sentence.

        `values` are (n,).
        """
        sample = values[:: -(-len(values) // MAX_SAMPLED)]
        bounds = limits(sample, self.method, self.k or DEFAULT_K[self.method])
        outside = (
            np.empty(0, np.int64) if bounds is None else np.flatnonzero((values < bounds[0]) | (values > bounds[1]))
        )
        if bounds is None or not len(outside):
            return []
        examples = [f"{state.row_name(positions[i])}: {values[i]:.6g}" for i in outside[:5]]
        what, (low, high) = f"{'target' if column is None else 'column'} {name}", bounds
        text = f"{what}: {len(outside)} values lie outside {low:.6g} .. {high:.6g}"
        if self.action != "report":
            self.record(state, len(outside), "values", f"{text}, by {self.method}", examples)
            self._act(name, column, positions[outside], np.clip(values[outside], *bounds), state)
        return [(len(outside), f"{text} ({examples[0]})")]

    def _act(self, name: str, column: int | None, positions: Ints, clipped: Floats, state: CleaningState) -> None:
        """Remove the outliers' rows at `positions` (n,), or change the values."""
        changed = clipped if self.action == "clip" else np.full(len(clipped), np.nan)
        if self.action == "remove":
            fresh = positions[state.keep[positions]]
            state.remove(fresh, "outlier", f"an outlier in {'target' if column is None else 'column'} {name}")
        elif column is not None:
            state.writable()[positions, column] = changed
        else:
            targets = state.frame.targets.copy()
            targets[positions, [spec.name for spec in state.frame.target_specs].index(name)] = changed
            state.change(targets=targets)


def limits(values: Floats, method: str, k: float) -> tuple[float, float] | None:
    """Return the smallest and the largest value that is no outlier, or None where the column has no scale."""
    present = values[~np.isnan(values)]
    if not len(present):
        return None
    low, middle, high = np.quantile(present, (0.25, 0.5, 0.75))
    if method == "iqr":
        reach = k * (high - low)
        return (float(low - reach), float(high + reach)) if reach > 0 else None
    reach = k * float(np.median(np.abs(present - middle))) / NORMAL_QUARTILE
    return (float(middle - reach), float(middle + reach)) if reach > 0 else None
