"""Values of a target that mean no label."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.frame import Column, Notes, TextColumn


def without_value(column: Column, value: str | None, notes: Notes) -> Column:
    """Return the column of a target with `value`, as the user writes it, made missing."""
    if value is None:
        return column
    if isinstance(column, TextColumn):
        hits = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column.values), value.strip()), fill_value=False)
        count = int(pc.sum(hits).as_py() or 0)
        found: Column = replace(column, values=pc.if_else(hits, pa.scalar(None, pa.string()), column.values))
    else:
        same = column.values == _number(value)
        count = int(same.sum())
        found = replace(column, values=np.where(same, np.nan, column.values))
    if count:
        notes.notice(f"target {column.name}: {count} rows hold {value!r}, which unlabelled_value calls no label")
    return found


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return np.nan
