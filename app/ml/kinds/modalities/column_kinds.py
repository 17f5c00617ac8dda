"""All kinds of columns of a table, and how they are fitted."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from app.ml.data.chunks import each_block, rows_per_read
from app.ml.data.words import MAX_WORDS, Cells
from app.ml.interfaces import StoredRows
from app.ml.kinds.modalities.column_statistics import ColumnStatistics
from app.ml.kinds.modalities.columns import CategoryColumn, DateColumn, NumberColumn
from app.ml.kinds.modalities.text_column import TextColumn
from app.ml.spec import ColumnSpec

AnyColumn = Annotated[NumberColumn | CategoryColumn | DateColumn | TextColumn, Field(discriminator="type")]
_TYPES: dict[str, type[NumberColumn | CategoryColumn | DateColumn]] = {
    "number": NumberColumn,
    "category": CategoryColumn,
    "date": DateColumn,
}
_MAX_ROWS = 50_000  # whose words are read


def fit_columns(columns: Sequence[ColumnSpec], rows: StoredRows) -> tuple[AnyColumn, ...]:
    """Learn columns from the train rows (N, D and the words of texts), a block of them at a time."""
    statistics = [ColumnStatistics() for _ in columns]
    texts = [index for index, column in enumerate(columns) if column.type == "text"]
    read: dict[int, list[Cells]] = {index: [] for index in texts}
    for block in each_block(len(rows), rows_per_read(len(columns) + MAX_WORDS * len(texts))):
        values = rows[block]
        for index, (column, of_column) in enumerate(zip(columns, statistics, strict=True)):
            of_column.add(values[:, index], codes=column.type == "category")
        if block.start < _MAX_ROWS:
            for number, index in enumerate(texts):
                read[index].append(np.array(values[:, cells_at(len(columns), number)]))
    return tuple(
        TextColumn.fit(column, np.concatenate([*read[index], np.empty((0, MAX_WORDS))]), had_missing=of_column.missing)
        if column.type == "text"
        else _TYPES[column.type].fit(column, of_column)
        for index, (column, of_column) in enumerate(zip(columns, statistics, strict=True))
    )


def cells_at(columns: int, text: int) -> slice:
    """Return where the codes of a text's words stand in a stored row, by the number of columns and that of the text."""
    return slice(columns + text * MAX_WORDS, columns + (text + 1) * MAX_WORDS)
