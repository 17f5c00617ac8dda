"""CSV: UTF-8 with a header; every line is accounted for and a fault names its line.

Python's own parser is used: it is strict about quotes, knows the line it is on and loses nothing.
"""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from app.datasets.columns.number_parsing import NUMBER
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Loaded, TextColumn
from app.datasets.limits import Limits
from app.datasets.readers.decimal_commas import with_points
from app.datasets.readers.names import check_names
from app.datasets.readers.spill import spill_all

DELIMITERS = ",;\t|"
WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_CHARS = 1 << 16
SAMPLE_ROWS = 50
MAX_LINE = 16 << 20
CELLS_AT_ONCE = 1 << 18
CELL_CHARS = 64
MAX_ROW_ERRORS = 20


def read_csv(path: Path, context: Context) -> Loaded:
    """Read a table whose columns are all text; what they hold is found out later.

    Raises:
        DatasetError: encoding, bad_csv, ragged_rows, duplicate_columns, bad_name, too_large or empty_dataset.
    """
    csv.field_size_limit(context.limits.field_chars)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = _Table(file, context)
            columns = with_points(table.read(), table.delimiter, context)
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    if not table.count:
        raise DatasetError(Code.EMPTY_DATASET, "the file holds a header and no rows; add rows")
    if table.blank:
        context.notes.notice(f"{table.blank} blank lines were skipped")
    return Loaded("csv", "table", table.count, np.arange(table.count), None, columns)


class _Table:
    """One pass over an open file."""

    def __init__(self, file: io.TextIOWrapper, context: Context) -> None:
        self._context = context
        self._limits = context.limits
        delimiter = _sniff(file, context.limits)
        if delimiter != ",":
            context.notes.decide("delimiter", WORDS[delimiter], "the first lines are consistent that way")
        self.delimiter = delimiter
        self._rows = csv.reader(_lines(file), delimiter=delimiter, strict=True)
        self.count = 0
        self.blank = 0
        self._ragged: list[RowError] = []

    def read(self) -> tuple[TextColumn, ...]:
        names = self._header()
        pieces: list[list[Any]] = [[] for _ in names]
        for rows in self._runs(len(names)):
            arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
            for column, values in zip(pieces, spill_all(arrays, self._context.work), strict=True):
                column.append(values)
        if self._ragged:
            message = f"{self._ragged[0].msg}; if this is plain text, give the modality text"
            raise DatasetError(Code.RAGGED_ROWS, message, self._ragged)
        return tuple(
            TextColumn(name, pa.chunked_array(column, pa.string())) for name, column in zip(names, pieces, strict=True)
        )

    def _header(self) -> list[str]:
        names = next(self._records(), [])
        if names and all(re.fullmatch(NUMBER, name.strip()) for name in names):
            message = "the first line holds only numbers; put the names of the columns there"
            raise DatasetError(Code.BAD_CSV, message, [RowError(("file",), message)])
        return check_names(names, self._limits)

    def _runs(self, width: int) -> Iterator[list[list[str]]]:
        """Give runs of rows of the right width, so many that their cells and characters stay within bounds."""
        run: list[list[str]] = []
        room = CELL_CHARS * CELLS_AT_ONCE
        for record in self._whole(width):
            run.append(record)
            room -= CELL_CHARS * width + sum(map(len, record))
            if room < 0:
                yield run
                self._context.progress(0.25, f"{self.count} rows read")
                run, room = [], CELL_CHARS * CELLS_AT_ONCE
        if run:
            yield run

    def _whole(self, width: int) -> Iterator[list[str]]:
        for record in self._records():
            if len(record) != width:
                self._remember_ragged(len(record), width)
            elif not self._ragged:
                yield record
            self.count += 1
            if self.count > self._limits.rows or self.count * width > self._limits.cells:
                message = f"the table is larger than {self._limits.rows} rows or {self._limits.cells} cells"
                raise DatasetError(Code.TOO_LARGE, f"{message}; upload less")
            if len(self._ragged) >= MAX_ROW_ERRORS:
                return

    def _remember_ragged(self, found: int, width: int) -> None:
        message = f"line {self._rows.line_num} has {found} fields and the header has {width}; correct the line"
        self._ragged.append(RowError(("file",), message, self.count))

    def _records(self) -> Iterator[list[str]]:
        try:
            for record in self._rows:
                if record:
                    yield record
                else:
                    self.blank += 1
        except csv.Error as error:
            raise self._broken(str(error)) from error

    def _broken(self, what: str) -> DatasetError:
        line = self._rows.line_num
        if "field larger" in what:
            what = f"a field is longer than {self._limits.field_chars} characters; is a quote left open?"
        elif "end of data" in what:
            what = "a quote that was opened is never closed"
        else:
            what = "text follows a closing quote; double the quotes inside a quoted field"
        message = f"line {line}: {what}"
        return DatasetError(Code.BAD_CSV, message, [RowError(("file",), message, self.count)])


def _lines(file: io.TextIOWrapper) -> Iterator[str]:
    """Give lines of bounded length and without NUL."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if "\0" in line:
            message = f"line {number} holds a NUL character; remove it"
            raise DatasetError(Code.BAD_CSV, message, [RowError(("file",), message)])
        if len(line) >= MAX_LINE:
            message = f"line {number} is longer than {MAX_LINE} characters; is this a CSV file?"
            raise DatasetError(Code.TOO_LARGE, message, [RowError(("file",), message)])
        yield line


def is_regular(path: Path, limits: Limits) -> bool:
    """Whether the first 65,536 characters look like a table: two lines or more, each of as many fields, two or more."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.read(SAMPLE_CHARS)
    except UnicodeDecodeError:
        return False
    widths = _widths(sample, _best(sample, limits), whole=len(sample) < SAMPLE_CHARS, most=SAMPLE_CHARS)
    return len(widths) > 1 and widths[0] > 1 and len(set(widths)) == 1


def _sniff(file: io.TextIOWrapper, limits: Limits) -> str:
    sample = file.read(SAMPLE_CHARS)
    file.seek(0)
    return _best(sample, limits)


def _best(sample: str, limits: Limits) -> str:
    """Return the delimiter under which the first lines have equally many, and most, fields."""
    whole = len(sample) < SAMPLE_CHARS
    best, best_score = ",", (False, 1)
    for delimiter in DELIMITERS:
        widths = _widths(sample, delimiter, whole=whole)
        if widths and widths[0] > 1:
            score = (len(set(widths)) == 1, min(widths[0], limits.columns))
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _widths(sample: str, delimiter: str, *, whole: bool, most: int = SAMPLE_ROWS) -> list[int]:
    widths: list[int] = []
    try:
        records = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        widths.extend(len(record) for record in islice(records, most) if record)
    except csv.Error:
        return widths
    return widths if whole or len(widths) in {1, most} else widths[:-1]


def not_utf8(path: Path, header: int = 1) -> DatasetError:
    """Return the error of a text file that names its first line that is not UTF-8; `header` lines are no rows."""
    row = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            row += 1
            try:
                line.decode()
            except UnicodeDecodeError:
                break
    message = f"line {row} is not UTF-8 text; save the file in the encoding UTF-8"
    place = row - 1 - header if row > header else None
    return DatasetError(Code.ENCODING, message, [RowError(("file",), message, place)])
