"""Numbers with a decimal comma, as spreadsheets of many countries write them: 1.234,5 is 1234.5."""

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


def with_decimal_points(columns: Columns, delimiter: str, context: Context) -> Columns:
    """Return the columns with decimal points in place of commas, as `options.decimal` or the whole file says."""
    decimal: Literal["auto", "point", "comma"] = context.options.decimal
    if decimal == "point" or (decimal == "auto" and delimiter == ","):
        return columns
    numeric = {column.name for column in columns if _all(column, NUMBER) and _any(column, r"[.,]")}
    fractions = [column for column in columns if column.name in numeric and _any(column, FRACTION)]
    if not numeric or (decimal == "auto" and not fractions):
        return columns
    if decimal == "auto":
        example = _example(fractions[0]).strip()
        context.notes.decide("decimal", "comma", f"{len(numeric)} columns hold numbers such as {example}")
    return tuple(_replace_commas(column, context) if column.name in numeric else column for column in columns)


def _replace_commas(column: TextColumn, context: Context) -> TextColumn:
    chunks = [
        spill(pc.replace_substring(pc.replace_substring(chunk, ".", ""), ",", "."), context.scratch)
        for chunk in column.values.chunks
    ]
    return TextColumn(column.name, pa.chunked_array(chunks, pa.string()))


def _all(column: TextColumn, pattern: str) -> bool:
    return all(pc.all(matches).as_py() is not False for matches in _matches(column, pattern))


def _any(column: TextColumn, pattern: str) -> bool:
    return any(pc.any(matches).as_py() for matches in _matches(column, pattern))


def _example(column: TextColumn) -> str:
    """Return the first value with a fraction."""
    pairs = zip(column.values.chunks, _matches(column, FRACTION), strict=True)
    filtered = (chunk.filter(matches) for chunk, matches in pairs)
    return str(next(values[0].as_py() for values in filtered if len(values)))


def _matches(column: TextColumn, pattern: str) -> Iterable[Any]:
    return (pc.match_substring_regex(chunk, pattern) for chunk in column.values.chunks)
