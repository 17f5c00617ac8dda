"""Lists of numbers that were written as text: "[0.1, 0.2]" by Python and pandas, "[0.1 0.2]" by NumPy, "70 80 82"."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.names import is_called_labels
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, LabelsColumn, Loaded, TextColumn
from app.datasets.frames.spill import spill
from app.datasets.readers.named_classes import number_labels
from app.datasets.readers.vectors import with_vectors
from app.ml.data.written_numbers import BARE, BRACKETED, ITEM, numbers_of_list

SAMPLED_ROWS = 1000
CUT = rf"^\s*\[\s*({ITEM}(\s*,\s*|\s+))+\.\.\.[\s,]"
WHOLE = r"^[\[(\s]*(\d+(\s*,\s*|\s+))*(\d+\s*,?\s*)?[\])\s]*$"
NO_LIST = r"(?i)^\s*(nan|none|null|na|n/a)?\s*$"


def with_written_vectors(loaded: Loaded, context: Context) -> Loaded:
    """Return the table with columns, series or labels in place of texts that are lists of numbers.

    Raises:
        DatasetError: mixed_types: NumPy left numbers out of its texts, or some rows hold no list; or bad_series.
    """
    options = context.options
    if loaded.inputs is not None or options.series is not None or options.modality == "text":
        return loaded
    vectors: dict[str, Any] = {}
    columns: list[Column] = []
    for column in loaded.columns:
        if not isinstance(column, TextColumn) or not _is_open(column.name, loaded, context) or not _is_list(column):
            columns.append(column)
        elif _are_labels(column, context):
            columns.append(_as_labels(column, context))
        else:
            vectors[column.name] = _as_vectors(column, context)
            context.notes.notice(f"column {column.name}: its lists of numbers are written as text")
    return with_vectors(replace(loaded, columns=tuple(columns)), vectors, context)


def _is_open(name: str, loaded: Loaded, context: Context) -> bool:
    """Return whether a column may hold lists: neither the user nor the file gives it another type or role."""
    role = context.options.columns.get(name, loaded.roles.get(name, "input"))
    return context.options.types.get(name, loaded.types.get(name, "labels")) == "labels" and role in {"input", "target"}


def _is_list(column: TextColumn) -> bool:
    """Return whether all of the first values are lists of numbers; refuse those of which numbers were left out."""
    text = _present(column.values.slice(0, SAMPLED_ROWS))
    if not len(text):
        return False
    if pc.any(pc.match_substring_regex(text, CUT)).as_py():
        message = f"column {column.name} holds arrays that NumPy wrote in short, with '...' in place of most numbers; "
        message += "write all of them, such as frame[name].map(list) before to_csv, "
        message += f'or leave it out with columns={{"{column.name}": "ignored"}}'
        raise DatasetError(Code.MIXED_TYPES, message, [RowError((column.name,), message)])
    return any(bool(pc.all(pc.match_substring_regex(text, pattern)).as_py()) for pattern in (BRACKETED, BARE))


def _present(values: Any) -> Any:
    """Return the texts that are there and do not say that nothing is."""
    text = values.drop_null()
    return text.filter(pc.invert(pc.match_substring_regex(text, NO_LIST)))


def _are_labels(column: TextColumn, context: Context) -> bool:
    """Return whether the numbers are labels of a row: the user says so, or the name does and all are whole."""
    options = context.options
    if options.types.get(column.name) == "labels" or options.columns.get(column.name) == "target":
        return True
    whole = bool(pc.all(pc.match_substring_regex(_present(column.values), WHOLE)).as_py())
    return whole and is_called_labels(column.name) and options.columns.get(column.name) != "input"


def _as_labels(column: TextColumn, context: Context) -> LabelsColumn:
    """Return the numbers as labels of the rows."""
    context.notes.notice(f"column {column.name}: its lists of numbers are written as text")
    return number_labels(column.name, _as_vectors(column, context), context)


def _as_vectors(column: TextColumn, context: Context) -> Any:
    """Return the lists as an Arrow array (N,) of lists of float64; null where a row has none."""
    chunks = []
    start = 0
    for chunk in column.values.chunks if isinstance(column.values, pa.ChunkedArray) else [column.values]:
        missing = pc.fill_null(pc.match_substring_regex(chunk, NO_LIST), fill_value=True)
        sound = pc.or_(pc.match_substring_regex(chunk, BRACKETED), pc.match_substring_regex(chunk, BARE))
        bad = pc.and_not(pc.fill_null(pc.invert(sound), fill_value=False), missing)
        if pc.any(bad).as_py():
            raise _no_list(column.name, chunk, start, pc.index(bad, value=True).as_py())
        lists = [
            None if absent else numbers_of_list(text)
            for text, absent in zip(chunk.to_pylist(), missing.to_pylist(), strict=True)
        ]
        chunks.append(spill(pa.array(lists, pa.large_list(pa.float64())), context.scratch))
        start += len(chunk)
    return pa.chunked_array(chunks, pa.large_list(pa.float64()))


def _no_list(name: str, chunk: Any, start: int, index: int) -> DatasetError:
    row = start + index
    message = f"column {name} holds lists of numbers, and row {row} holds {chunk[index].as_py()[:60]!r}; correct it, "
    message += f'leave it empty, or leave the column out with columns={{"{name}": "ignored"}}'
    return DatasetError(Code.MIXED_TYPES, message, [RowError((name,), message, row)])
