"""Numbers that stand for classes which the file names, as Hugging Face's datasets write them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.context import Context
from app.datasets.frames import LabelsColumn, NumberColumn, TextColumn
from app.ml.spec import WarningCode

NO_LABEL = -1


def name_classes(column: NumberColumn, names: tuple[str, ...], context: Context) -> NumberColumn | TextColumn:
    """Return the names that the numbers of a column stand for; -1 is a missing label.

    The column stays as it is where the user declared numbers, or where some number has no name.
    """
    name, values = column.name, column.values
    if context.options.types.get(name) in {"number", "date"}:
        return column
    missing = np.isnan(values) | (values == NO_LABEL)
    known = (values >= 0) & (values < len(names)) & (values == np.floor(values))
    unknown = np.flatnonzero(~(missing | known))
    if len(unknown):
        message = (
            f"column {name}: the file names {len(names)} classes, and {values[unknown[0]]:g} is none of their numbers"
        )
        remedy = "correct the numbers, or the names of the classes; until then the numbers are the classes"
        context.notes.warn(WarningCode.UNKNOWN_CLASS_NUMBER, message, count=len(unknown), rows=unknown, remedy=remedy)
        return column
    unlabelled = int((values == NO_LABEL).sum())
    if unlabelled:
        context.notes.notice(f"column {name}: {unlabelled} rows hold -1, which means no label")
    shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")  # noqa: PLR2004 - some examples
    reason = f"the file names the classes of its numbers: {shown}"
    context.notes.decide(f"types.{name}", "category", reason, option=f'types={{"{name}": "number"}}')
    codes = pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)
    return TextColumn(name, pa.chunked_array([pc.take(pa.array(names, pa.string()), codes)]), typed=True)


def labels_of_numbers(name: str, lists: Any, names: tuple[str, ...]) -> LabelsColumn:
    """Return lists of numbers (N,) as lists of the names that they stand for; a number without a name is its own."""
    known = {float(code): label for code, label in enumerate(names)}
    rows = (None if row is None else [known.get(code, _name(code)) for code in row] for row in lists.to_pylist())
    return LabelsColumn(name, pa.chunked_array([pa.array(rows, pa.list_(pa.string()))]))


def number_labels(name: str, lists: Any, context: Context) -> LabelsColumn:
    """Return lists of numbers (N,) as labels: each number is one, or a 1 says that a row has the label of its place."""
    rows = lists.to_pylist()
    present = [row for row in rows if row is not None]
    reason = "the numbers in its lists are labels"
    if _are_indicators(present):
        reason = "its lists have one length and hold 0 and 1 alone: a 1 at place k, counted from 0, is label k"
        rows = [None if row is None else [place for place, mark in enumerate(row) if mark] for row in rows]
    context.notes.decide(f"columns.{name}", "target", reason, f'columns={{"{name}": "ignored"}}')
    labels = [None if row is None else [_name(code) for code in row] for row in rows]
    return LabelsColumn(name, pa.chunked_array([pa.array(labels, pa.list_(pa.string()))]))


def _are_indicators(rows: Sequence[Sequence[float]]) -> bool:
    """Return whether lists have one length, above 1, and hold 0 and 1 alone."""
    one_length = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    return one_length and {mark for row in rows for mark in row} <= {0, 1}


def _name(code: float) -> str:
    return str(int(code)) if float(code).is_integer() else repr(code)
