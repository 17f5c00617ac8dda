"""Columns that give the target away, so that a model is good in every test and useless afterwards.

Measured on rows of train alone. A column leaks where it equals the target, where its values and the classes correspond
one to one, or where a rule on this column alone predicts the target nearly perfectly: for two classes by the area under
the ROC curve, for more by the accuracy of the most frequent class of each value (or bin), for a number by R^2 of a line
or of the mean of each bin. A column that numbers or names every row describes nothing.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Floats, Ints
from app.datasets.report import Notes
from app.ml.spec import ColumnSpec, TargetSpec, WarningCode

MAX_ROWS = 10_000
MIN_ROWS = 30
MIN_BIN_ROWS = 5  # on average: with fewer rows a bin predicts anything
MAX_BINS = 64
MAX_SHOWN = 10
MAX_ID_SPREAD = 4  # times the rows of the file: numbers of rows that were drawn from a larger file
MIN_EXPECTED_REPEATS = 40  # a chance of exp(-20) that numbers drawn at random all differ
MAX_TARGETS = 50  # lists of labels make many more
MAX_CLASS_SHARE = 0.99  # a class that frequent is predicted as well without any column


class LeakingColumns(CleaningStep):
    """Report or drop columns that predict a target alone, and columns that number or name the rows."""

    modalities = ("table",)
    after_split = True
    kind: Literal["leaking_columns"] = "leaking_columns"
    action: Literal["report", "drop"] = Field(default="report", description="Report such columns, or leave them out.")
    above: float = Field(
        default=0.999, ge=0.9, lt=1, description="AUC, accuracy or R2 of a one-column rule that is too good to be true."
    )

    def run(self, state: CleaningState) -> None:
        """Measure every column on at most 10,000 rows of train, evenly spaced."""
        positions = state.kept() if state.split is None else state.kept()[state.split == 0]
        if len(positions) < MIN_ROWS:
            return
        positions = positions[np.linspace(0, len(positions) - 1, min(MAX_ROWS, len(positions))).astype(np.int64)]
        reasons: dict[int, str] = {}
        ids: list[int] = []
        for start, block in state.blocks(positions):
            for j in range(block.shape[1]):
                column = state.frame.columns[start + j]
                if column.type == "text":
                    continue
                if _names_rows(column, block[:, j], state.frame.rows[positions]):
                    reasons[start + j] = "it numbers or names every row"
                    ids.append(start + j)
                elif (reason := self._reason(column, block[:, j], positions, state)) is not None:
                    reasons[start + j] = reason
        self._record(reasons, state)
        if self.action == "report":
            _warn_of_ids([state.frame.columns[j].name for j in ids], state.notes)

    def _reason(self, column: ColumnSpec, values: Floats, positions: Ints, state: CleaningState) -> str | None:
        for t, target in enumerate(state.frame.target_specs[:MAX_TARGETS]):
            reason = find_leak(column, values, target, state.frame.targets[positions, t], self.above)
            if reason is not None:
                return reason
        return None

    def _record(self, reasons: dict[int, str], state: CleaningState) -> None:
        if not reasons:
            return
        sentences = [f"{state.frame.columns[j].name}: {reason}" for j, reason in reasons.items()]
        if self.action == "drop":
            if len(reasons) == len(state.frame.columns):
                message = (
                    f"every input column gives the answer away or names the rows ({sentences[0]}); nothing is left"
                )
                raise DatasetError(Code.NO_INPUTS, message)
            state.drop_columns(list(reasons))
            text = "columns that give the answer away, or name the rows, were dropped"
        else:
            text = "columns that may give the answer away; ignore those that are not known when one predicts"
        self.record(state, len(reasons), "columns", text, sentences)
        state.notes.notice(f"{text}: {'; '.join(sentences[:5])}")


def _warn_of_ids(names: list[str], notes: Notes) -> None:
    """Warn of columns that number or name the rows, which teach a model nothing about others."""
    if names:
        shown = ", ".join(names[:MAX_SHOWN])
        message = f"columns that number or name every row describe nothing: {shown}"
        request = ", ".join(f'"{name}": "ignored"' for name in names[:MAX_SHOWN])
        notes.warn(WarningCode.ROW_IDS, message, count=len(names), remedy=f"columns={{{request}}} leaves them out")


def _names_rows(column: ColumnSpec, values: Floats, rows: Ints) -> bool:
    """Return whether a number counts the rows, in any order, or each row has a category of its own.

    Whole numbers that all differ, of n rows, count them if they lie so close together that numbers drawn at random
    would repeat: such draws from r numbers all differ with a probability of about exp(-n^2 / 2r).
    """
    if column.type == "date" or np.isnan(values).any() or len(np.unique(values)) < len(values):
        return False
    if column.type == "category" or np.ptp(values - rows) == 0:
        return True
    spread, rows_spread = float(np.ptp(values)), int(np.ptp(rows))
    close = spread <= len(values) ** 2 / MIN_EXPECTED_REPEATS and spread <= MAX_ID_SPREAD * rows_spread
    return bool(close and (values == np.floor(values)).all())


def find_leak(column: ColumnSpec, values: Floats, target: TargetSpec, answers: Floats, above: float) -> str | None:
    """Return why a column with `values` (n,) gives a target with `answers` (n,) away, or None."""
    known = ~np.isnan(answers)
    missing = np.isnan(values[known])
    if known.sum() < MIN_ROWS or missing.all():
        return None
    values, answers = values[known], answers[known]
    comparable = column.categories == target.classes  # both are numbers, or their codes mean the same
    if comparable and not missing.any() and np.array_equal(values, answers):
        return f"it equals target {target.name}"
    values = np.where(missing, np.nanmin(values) - 1, values)  # a missing value is a value of its own
    if target.type == "category":
        return _find_class_leak(column, values, target, answers.astype(np.int64), above)
    return _find_number_leak(column, values, target, answers, above)


def _find_class_leak(column: ColumnSpec, values: Floats, target: TargetSpec, codes: Ints, above: float) -> str | None:
    counts = np.bincount(codes, minlength=len(target.classes))
    if counts.max() >= MAX_CLASS_SHARE * len(codes):
        return None
    bins = _bins(values, column.type == "category")
    if bins is not None:
        table = np.zeros((bins.max() + 1, len(counts)), np.int64)  # rows of each class in each bin
        np.add.at(table, (bins, codes), 1)
        accuracy = table.max(axis=1).sum() / len(codes)  # of the most frequent class of each bin
        if accuracy >= above:
            one_to_one = bool(((table > 0).sum(axis=0) <= 1).all())
            return (
                f"its values and the classes of {target.name} are one to one"
                if one_to_one and accuracy == 1
                else (f"it alone predicts {target.name} with an accuracy of {accuracy:.4f}")
            )
    if np.count_nonzero(counts) == 2 and column.type != "category":  # noqa: PLR2004 - the AUC is of two classes
        area = _auc(values, codes == np.flatnonzero(counts)[1])
        if area >= above:
            return f"it alone predicts {target.name} with an AUC of {area:.4f}"
    return None


def _find_number_leak(
    column: ColumnSpec, values: Floats, target: TargetSpec, answers: Floats, above: float
) -> str | None:
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
    """Return the bin of each row, (n,), or None with too few rows.

    Each value is a bin where values repeat enough; other numbers are cut into bins of equal counts.
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    if MIN_BIN_ROWS * len(distinct) <= len(values):
        return inverse.astype(np.int64)
    count = min(MAX_BINS, len(values) // (2 * MIN_BIN_ROWS))
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
