"""Numbers that stand for classes which the file names, as Hugging Face's datasets write them."""

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
    rows = (None if row is None else [known.get(code, f"{code:g}") for code in row] for row in lists.to_pylist())
    return LabelsColumn(name, pa.chunked_array([pa.array(rows, pa.list_(pa.string()))]))
