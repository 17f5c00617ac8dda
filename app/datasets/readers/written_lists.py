"""Lists of labels that were written as text: "['a', 'b']" by Python and pandas, "['a' 'b']" by NumPy, or as JSON."""

import ast
import json
import re
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, LabelsColumn, Loaded, TextColumn
from app.datasets.frames.spill import spill

BRACKETED = r"(?s)^[\[({].*[\])}]$"
SAMPLED_ROWS = 1000
MAX_CHARS = 100_000  # of one list
QUOTED = r"""(?:'[^'\\]*'|"[^"\\]*")"""
OF_NUMPY = re.compile(rf"\[\s*{QUOTED}(\s+{QUOTED})+\s*\]")
MISSING = frozenset({"", "nan", "none", "null", "na", "n/a"})


class _NoListError(Exception):
    """A text is no list of texts."""


def with_written_lists(loaded: Loaded, context: Context) -> Loaded:
    """Return the table with lists of labels in place of texts that are such lists, unless a column has another type.

    Raises:
        DatasetError: bad_target: a column that is declared to hold labels has lists in some rows and none in others.
    """
    options = context.options
    if loaded.inputs is not None or options.series is not None or options.modality == "series":
        return loaded
    columns: list[Column] = []
    for column in loaded.columns:
        declared = options.types.get(column.name, loaded.types.get(column.name))
        lists: LabelsColumn | None = None
        if isinstance(column, TextColumn) and declared in {None, "labels"} and _may_hold_lists(column):
            lists = _read_lists(column, context, strict=declared == "labels")
        columns.append(column if lists is None else lists)
    return replace(loaded, columns=tuple(columns))


def _may_hold_lists(column: TextColumn) -> bool:
    """Return whether all of the first values that are there stand in brackets."""
    text = pc.utf8_trim_whitespace(column.values.slice(0, SAMPLED_ROWS)).drop_null()
    text = text.filter(pc.invert(pc.is_in(pc.utf8_lower(text), pa.array(sorted(MISSING)))))
    return bool(len(text)) and bool(pc.all(pc.match_substring_regex(text, BRACKETED)).as_py())


def _read_lists(column: TextColumn, context: Context, *, strict: bool) -> LabelsColumn | None:
    """Return the lists; None where some text is no list of texts, or `strict`, an error with its row."""
    chunks: list[Any] = []
    first_row = 0
    for chunk in column.values.chunks if isinstance(column.values, pa.ChunkedArray) else [column.values]:
        encoded = chunk.dictionary_encode()
        lists: list[list[str] | None] = []
        for code, text in enumerate(encoded.dictionary.to_pylist()):
            try:
                lists.append(_parse(text))
            except _NoListError:
                if strict:
                    row = first_row + encoded.indices.index(code).as_py()
                    raise _no_list(column.name, text, row) from None
                return None
        values = pc.take(pa.array(lists, pa.list_(pa.string())), encoded.indices)
        chunks.append(spill(values, context.scratch))
        first_row += len(chunk)
    context.notes.notice(f"column {column.name}: its lists are written as text, and were read as lists of labels")
    return LabelsColumn(column.name, pa.chunked_array(chunks, pa.list_(pa.string())))


def _no_list(name: str, text: str, row: int) -> DatasetError:
    message = f"column {name} holds lists such as ['a', 'b'], and row {row} holds {text[:60]!r}; write it as a list"
    return DatasetError(Code.BAD_TARGET, message, [RowError((name,), message, row)])


def _parse(text: str) -> list[str] | None:
    """Return the texts of a written list; None where nothing is written. Raises `_NoListError`."""
    text = text.strip()
    if text.casefold() in MISSING:
        return None
    if OF_NUMPY.fullmatch(text):
        return [quoted[1:-1] for quoted in re.findall(QUOTED, text)]
    for parse in (json.loads, ast.literal_eval):
        try:
            items = parse(text[:MAX_CHARS])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(items, list | tuple | set) and all(isinstance(item, str) for item in items):
            return sorted(items) if isinstance(items, set) else list(items)
    raise _NoListError
