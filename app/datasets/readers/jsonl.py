"""Reads JSON Lines: each line is a row, an object of columns and values, or a list that is a series.

A value is a number, true or false, a text, a list of texts (labels) or null. In one column it may be a list of numbers,
which is a series of one channel, or columns of the table where all have one length and no order; or a list of lists of
numbers, a step each with a number per channel. Blank lines are skipped.

A large table is read in parts by several processes. From a part on that holds a series or a fault, or does not fit the
rows before it, the file is read in one piece, with the lines and rows counted so far, so that series and faults are
those of a file that is read in one piece.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Loaded
from app.datasets.readers.json_table import JsonTable, TablePart
from app.kit import strict_json

MAX_LINE = 16 << 20
PROGRESS_ROWS = 1 << 16
HEAD_BYTES = 1 << 16
PART_BYTES = 4 << 20
_MIN_BYTES = 32 << 20  # of fewer, starting processes would cost more than they save
BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class _Place:
    """Where the next line of a file begins, in bytes, and how many lines, blank lines and rows were read before it."""

    offset: int = 0
    lines: int = 0
    blank: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """The lines of a file from one offset to another."""

    path: Path
    start: int
    end: int
    context: Context


def read_jsonl(path: Path, context: Context) -> Loaded:
    """Read a table, texts or series.

    Raises:
        DatasetError: bad_json, encoding, mixed_types, bad_series, bad_number, bad_name, too_large or empty_dataset.
    """
    with closing(JsonTable(context)) as table:
        try:
            _read_rows(table, path, context)
            return table.finish()
        except DatasetError as error:
            raise _of_document(path, error) from None


def _of_document(path: Path, error: DatasetError) -> DatasetError:
    """Return the error of a file, and how to write a document as rows where an object is its only line."""
    with path.open("rb") as file:
        first, more = file.readline(MAX_LINE), file.read(MAX_LINE).strip()
    if more or error.code not in {Code.MIXED_TYPES, Code.UNSUPPORTED_COLUMN} or not first.lstrip(BOM).startswith(b"{"):
        return error
    message = (
        f"{error.message}; the file has one line: if that is a whole document, write each row on a line, as pandas "
    )
    message += 'does with to_json(path, orient="records", lines=True)'
    return DatasetError(error.code, message, error.errors)


def _read_rows(table: JsonTable, path: Path, context: Context) -> None:
    """Read all rows into a table: those of a large file in parts, as far as that is possible."""
    place, size = _Place(), path.stat().st_size
    if context.processes.are_worth(size, _MIN_BYTES):
        ends = list(_ends(path, size))
        _add_rows(table, path, place, ends[0], context)  # where they hold series, no process is started in vain
        if table.is_plain:
            parts = [_Part(path, start, end, context.for_part()) for start, end in pairwise(ends)]
            _add_parts(table, parts, place, context)
    _add_rows(table, path, place, size, context)
    if place.blank:
        context.notes.notice(f"{place.blank} blank lines were skipped")


def _add_rows(table: JsonTable, path: Path, place: _Place, end: int, context: Context) -> None:
    for row, value, size in _rows(path, place, end, context):
        table.add(row, value, size)


def _ends(path: Path, size: int) -> Iterator[int]:
    """Yield where parts end, which is behind lines."""
    end, least = 0, HEAD_BYTES
    with path.open("rb") as file:
        while end < size:
            file.seek(end + least)
            while (line := file.readline(MAX_LINE)) and not line.endswith(b"\n"):
                pass
            end, least = min(file.tell(), size), PART_BYTES
            yield end


def _add_parts(table: JsonTable, parts: list[_Part], place: _Place, context: Context) -> None:
    """Read parts by several processes into a table, up to the first one that has to be read in one piece."""
    for part, rows in zip(parts, context.processes.map(_read_part, parts), strict=True):
        if rows is None or not table.append(rows.table):
            return
        place.offset = part.end
        place.lines += rows.place.lines
        place.blank += rows.place.blank
        place.rows += rows.place.rows
        context.progress(0.25, f"{place.rows} rows read")


@dataclass(frozen=True, slots=True)
class _PartRows:
    """The columns of a part, and what was counted in it."""

    table: TablePart
    place: _Place


def _read_part(part: _Part) -> _PartRows | None:
    """Read the rows of a part; None where they hold a series or a fault."""
    place = _Place(part.start)
    with closing(JsonTable(part.context)) as table:
        try:
            for row, value, size in _rows(part.path, place, part.end, part.context):
                table.add(row, value, size)
                if not table.is_plain:
                    return None
            return _PartRows(table.store(), place)
        except DatasetError:
            return None


def _rows(path: Path, place: _Place, end: int, context: Context) -> Iterator[tuple[int, Any, int]]:
    """Yield the number, the value and the bytes of each row from a place, which moves on, to the offset `end`."""
    with path.open("rb") as file:
        file.seek(place.offset)
        while place.offset < end and (line := file.readline(MAX_LINE)):
            text = line if place.offset else line.removeprefix(BOM)
            place.offset += len(line)
            place.lines += 1
            if not text.strip():
                place.blank += 1
                continue
            if len(line) >= MAX_LINE:
                what = f"it is longer than {MAX_LINE} bytes; is this JSON Lines?"
                raise _line_error(Code.TOO_LARGE, place.lines, place.rows, what)
            yield place.rows, _decode(text, place.lines, place.rows), len(line)
            place.rows += 1
            if place.rows % PROGRESS_ROWS == 0:
                context.progress(0.25, f"{place.rows} rows read")


def _decode(line: bytes, number: int, row: int) -> Any:
    """Return the value of the line `number`, which is row `row`."""
    try:
        value = strict_json.loads(line)
    except strict_json.StrictJsonError as error:
        if not _is_utf8(line):
            what = "it is not UTF-8; save the file in the encoding UTF-8"
            raise _line_error(Code.ENCODING, number, row, what) from None
        hint = "; write each row as one line of JSON" if number == 1 else ""
        raise _line_error(Code.BAD_JSON, number, row, f"{str(error).replace(' (line 1, ', ' (')}{hint}") from None
    if isinstance(value, list) and any(isinstance(item, dict) for item in value[:1]):
        raise _line_error(Code.BAD_JSON, number, row, "this is a list of rows; write each row on a line of its own")
    if not isinstance(value, dict | list):
        raise _line_error(Code.BAD_JSON, number, row, "a row is an object of columns and values, or a list of numbers")
    return value


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _line_error(code: Code, number: int, row: int, what: str) -> DatasetError:
    message = f"line {number}: {what}"
    return DatasetError(code, message, [RowError(("file",), message, row)])
