"""Numbers with a decimal comma, as spreadsheets of many countries write them: 1.234,5 is read as 1234.5."""

from collections.abc import Iterable
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.context import Context
from app.datasets.frames import TextColumn
from app.datasets.readers.spill import spill

NUMBER = r"^\s*([+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?([eE][+-]?\d+)?|(?i:na|n/a|nan|null|none))?\s*$"
FRACTION = r",(\d\d?|\d{4,})\b"  # three digits may be thousands
Columns = tuple[TextColumn, ...]


def with_points(columns: Columns, delimiter: str, context: Context) -> Columns:
    """Return the columns with decimal points where `options.decimal`, or the whole file, says that they have commas."""
    wish: Literal["auto", "point", "comma"] = context.options.decimal
    if wish == "point" or (wish == "auto" and delimiter == ","):
        return columns
    found = {column.name for column in columns if _all(column, NUMBER) and _any(column, r"[.,]")}
    fractions = [column for column in columns if column.name in found and _any(column, FRACTION)]
    if not found or (wish == "auto" and not fractions):
        return columns
    if wish == "auto":
        example = _example(fractions[0]).strip()
        context.notes.decide("decimal", "comma", f"{len(found)} columns hold numbers such as {example}")
    return tuple(_with_points(column, context) if column.name in found else column for column in columns)


def _with_points(column: TextColumn, context: Context) -> TextColumn:
    pieces = [
        spill(pc.replace_substring(pc.replace_substring(chunk, ".", ""), ",", "."), context.work)
        for chunk in column.values.chunks
    ]
    return TextColumn(column.name, pa.chunked_array(pieces, pa.string()))


def _all(column: TextColumn, pattern: str) -> bool:
    return all(pc.all(found).as_py() is not False for found in _matches(column, pattern))


def _any(column: TextColumn, pattern: str) -> bool:
    return any(pc.any(found).as_py() for found in _matches(column, pattern))


def _example(column: TextColumn) -> str:
    """The first value with a fraction."""
    kept = (chunk.filter(found) for chunk, found in zip(column.values.chunks, _matches(column, FRACTION), strict=True))
    return str(next(some[0].as_py() for some in kept if len(some)))


def _matches(column: TextColumn, pattern: str) -> Iterable[Any]:
    return (pc.match_substring_regex(chunk, pattern) for chunk in column.values.chunks)
