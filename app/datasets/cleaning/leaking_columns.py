"""Columns that give the answer away, so that a model looks good in every test and is of no use later.

Judged on rows of train alone: a column leaks where it is the target, where its values and the classes stand for each
other one to one, or where a rule on this column alone predicts the target nearly perfectly: for two classes the area
under the ROC curve, for more the best class of each value (or of each of some bins), for a number R^2 of a line or of
the mean of each bin. A column that numbers or names every row is no property of the thing it describes.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Floats, Ints
from app.ml.data.spec import ColumnSpec, TargetSpec

SCREENED = 10_000
MIN = 30
A_BIN = 5  # rows a bin holds on average, or more: fewer would predict anything
MAX_BINS = 64
MAX_TARGETS = 50  # are looked at; lists of labels may be many more
TRIVIAL = 0.99  # a class that common is guessed as well without any column


class LeakingColumns(CleaningStep):
    """Report or drop columns that predict a target alone, and columns that number or name the rows."""

    modalities = ("table",)
    after_split = True
    kind: Literal["leaking_columns"] = "leaking_columns"
    action: Literal["report", "drop"] = Field(default="report", description="Report such columns, or leave them out.")
    above: float = Field(
        default=0.999, ge=0.9, lt=1, description="AUC, accuracy or R2 of a one-column rule that is too good to be true."
    )

    def run(self, work: Work) -> None:
        """Look at every column over at most 10,000 rows of train, evenly spaced."""
        places = work.kept() if work.split is None else work.kept()[work.split == 0]
        if len(places) < MIN:
            return
        places = places[np.linspace(0, len(places) - 1, min(SCREENED, len(places))).astype(np.int64)]
        found: dict[int, str] = {}
        for start, block in work.blocks(places):
            for j in range(block.shape[1]):
                reason = self._reason(work.frame.columns[start + j], block[:, j], places, work)
                if reason is not None:
                    found[start + j] = reason
        self._settle(found, work)

    def _reason(self, column: ColumnSpec, values: Floats, places: Ints, work: Work) -> str | None:
        if _names_rows(column, values, work.frame.rows[places]):
            return "it numbers or names every row"
        for t, target in enumerate(work.frame.target_specs[:MAX_TARGETS]):
            reason = leak(column, values, target, work.frame.targets[places, t], self.above)
            if reason is not None:
                return reason
        return None

    def _settle(self, found: dict[int, str], work: Work) -> None:
        if not found:
            return
        told = [f"{work.frame.columns[j].name}: {reason}" for j, reason in found.items()]
        if self.action == "drop":
            if len(found) == len(work.frame.columns):
                message = f"every input column gives the answer away or names the rows ({told[0]}); nothing is left"
                raise DatasetError(Code.NO_INPUTS, message)
            work.drop_columns(list(found))
            text = "columns that give the answer away, or name the rows, were dropped"
        else:
            text = "columns that may give the answer away; ignore those that are not known when one predicts"
        self.record(work, len(found), "columns", text, told)
        work.notes.notice(f"{text}: {'; '.join(told[:5])}")


def _names_rows(column: ColumnSpec, values: Floats, rows: Ints) -> bool:
    """Whether a number counts the rows up, or each row has a category of its own."""
    if np.isnan(values).any():
        return False
    if column.type == "category":
        return len(np.unique(values)) == len(values)
    return column.type == "number" and bool(np.ptp(values - rows) == 0)


def leak(column: ColumnSpec, values: Floats, target: TargetSpec, answers: Floats, above: float) -> str | None:
    """Say why a column (n,) gives the target (n,) away, or return None."""
    known = ~np.isnan(answers)
    gap = np.isnan(values[known])
    if known.sum() < MIN or gap.all():
        return None
    values, answers = values[known], answers[known]
    comparable = column.categories == target.classes  # both are numbers, or their codes mean the same
    if comparable and not gap.any() and np.array_equal(values.astype(np.float32), answers.astype(np.float32)):
        return f"it equals target {target.name}"
    values = np.where(gap, np.nanmin(values) - 1, values)
    if target.type == "category":
        return _of_classes(column, values, target, answers.astype(np.int64), above)
    return _of_numbers(column, values, target, answers, above)


def _of_classes(column: ColumnSpec, values: Floats, target: TargetSpec, codes: Ints, above: float) -> str | None:
    counts = np.bincount(codes, minlength=len(target.classes))
    if counts.max() >= TRIVIAL * len(codes):
        return None
    bins = _bins(values, column.type == "category")
    if bins is not None:
        table = np.zeros((bins.max() + 1, len(counts)), np.int64)
        np.add.at(table, (bins, codes), 1)
        accuracy = table.max(axis=1).sum() / len(codes)
        if accuracy >= above:
            one = bool(((table > 0).sum(axis=0) <= 1).all())
            return (
                f"its values and the classes of {target.name} are one to one"
                if one and accuracy == 1
                else (f"it alone predicts {target.name} with an accuracy of {accuracy:.4f}")
            )
    if np.count_nonzero(counts) == 2 and column.type != "category":  # noqa: PLR2004 - the AUC is of two classes
        area = _auc(values, codes == np.flatnonzero(counts)[1])
        if area >= above:
            return f"it alone predicts {target.name} with an AUC of {area:.4f}"
    return None


def _of_numbers(column: ColumnSpec, values: Floats, target: TargetSpec, answers: Floats, above: float) -> str | None:
    spread = ((answers - answers.mean()) ** 2).sum()
    if spread <= 0:
        return None
    best = 0.0
    if column.type != "category" and np.ptp(values) > 0:
        best = float(np.corrcoef(values, answers)[0, 1] ** 2)
    bins = _bins(values, column.type == "category")
    if bins is not None:
        means = np.bincount(bins, answers) / np.maximum(np.bincount(bins), 1)
        best = max(best, 1 - float(((answers - means[bins]) ** 2).sum() / spread))
    return f"it alone predicts {target.name} with an R2 of {best:.4f}" if best >= above else None


def _bins(values: Floats, category: bool) -> Ints | None:
    """Number the bin of each row: one a value where values repeat enough, else of equal counts; None: too few rows."""
    distinct, inverse = np.unique(values, return_inverse=True)
    if A_BIN * len(distinct) <= len(values):
        return inverse.astype(np.int64)
    count = min(MAX_BINS, len(values) // (2 * A_BIN))
    if category or count < 2:  # noqa: PLR2004 - one bin says nothing
        return None
    edges = np.quantile(values, np.linspace(0, 1, count + 1)[1:-1])
    return np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1].astype(np.int64)


def _auc(values: Floats, positive: Ints) -> float:
    """Return the area under the ROC curve by ranks, ties in the middle (Mann and Whitney 1947), at least 0.5."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = int(positive.sum())
    area = (ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * (len(values) - ones))
    return float(max(area, 1 - area))
