"""Reads CSV: UTF-8 with a header; no line is lost, and an error names its line.

Python's own parser is used: it is strict about quotes, knows its line and loses nothing.
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
from app.datasets.readers.decimal_commas import with_decimal_points
from app.datasets.readers.names import check_names
from app.datasets.readers.spill import spill_all

DELIMITERS = ",;\t|"
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_CHARS = 1 << 16
SAMPLE_ROWS = 50
MAX_LINE = 16 << 20
BATCH_CELLS = 1 << 18
CELL_CHARS = 64
MAX_ROW_ERRORS = 20


def read_csv(path: Path, context: Context) -> Loaded:
    """Read a table whose columns are all text; their types are inferred later.

    Raises:
        DatasetError: encoding, bad_csv, ragged_rows, duplicate_columns, bad_name, too_large or empty_dataset.
    """
    csv.field_size_limit(context.limits.field_chars)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = _Table(file, context)
            columns = with_decimal_points(table.read(), table.delimiter, context)
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    if not table.count:
        raise DatasetError(Code.EMPTY_DATASET, "the file holds a header and no rows; add rows")
    if table.blank:
        context.notes.notice(f"{table.blank} blank lines were skipped")
    return Loaded("csv", "table", table.count, np.arange(table.count), None, columns)


class _Table:
    """One pass over an open CSV file."""

    def __init__(self, file: io.TextIOWrapper, context: Context) -> None:
        self._context = context
        self._limits = context.limits
        sample = file.read(SAMPLE_CHARS)
        file.seek(0)
        delimiter = _best_delimiter(sample, context.limits)
        if delimiter != ",":
            context.notes.decide("delimiter", DELIMITER_NAMES[delimiter], "the first lines are consistent that way")
        self.delimiter = delimiter
        self._rows = csv.reader(_lines(file), delimiter=delimiter, strict=True)
        self.count = 0
        self.blank = 0
        self._ragged: list[RowError] = []

    def read(self) -> tuple[TextColumn, ...]:
        """Return all columns, large ones from mapped files."""
        names = self._header()
        chunks: list[list[Any]] = [[] for _ in names]
        for rows in self._batches(len(names)):
            arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
            for column, values in zip(chunks, spill_all(arrays, self._context.scratch), strict=True):
                column.append(values)
        if self._ragged:
            message = f"{self._ragged[0].msg}; if this is plain text, give the modality text"
            raise DatasetError(Code.RAGGED_ROWS, message, self._ragged)
        return tuple(
            TextColumn(name, pa.chunked_array(column, pa.string())) for name, column in zip(names, chunks, strict=True)
        )

    def _header(self) -> list[str]:
        names = next(self._records(), [])
        if names and all(re.fullmatch(NUMBER, name.strip()) for name in names):
            message = "the first line holds only numbers; put the names of the columns there"
            raise DatasetError(Code.BAD_CSV, message, [RowError(("file",), message)])
        return check_names(names, self._limits)

    def _batches(self, width: int) -> Iterator[list[list[str]]]:
        """Yield batches of rows of the right width, of a bounded number of cells and characters."""
        batch: list[list[str]] = []
        room = CELL_CHARS * BATCH_CELLS
        for record in self._full_rows(width):
            batch.append(record)
            room -= CELL_CHARS * width + sum(map(len, record))
            if room < 0:
                yield batch
                self._context.progress(0.25, f"{self.count} rows read")
                batch, room = [], CELL_CHARS * BATCH_CELLS
        if batch:
            yield batch

    def _full_rows(self, width: int) -> Iterator[list[str]]:
        """Yield the rows of the right width, and collect errors of others."""
        for record in self._records():
            if len(record) != width:
                line, fields = self._rows.line_num, len(record)
                message = f"line {line} has {fields} fields and the header has {width}; correct the line"
                self._ragged.append(RowError(("file",), message, self.count))
            elif not self._ragged:
                yield record
            self.count += 1
            if self.count > self._limits.rows or self.count * width > self._limits.cells:
                message = f"the table is larger than {self._limits.rows} rows or {self._limits.cells} cells"
                raise DatasetError(Code.TOO_LARGE, f"{message}; upload less")
            if len(self._ragged) >= MAX_ROW_ERRORS:
                return

    def _records(self) -> Iterator[list[str]]:
        try:
            for record in self._rows:
                if record:
                    yield record
                else:
                    self.blank += 1
        except csv.Error as error:
            raise self._syntax_error(str(error)) from error

    def _syntax_error(self, what: str) -> DatasetError:
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
    """Yield lines of bounded length and without NUL."""
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
    """Return whether the first 65,536 characters look like a table: two lines or more of equally many fields."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.read(SAMPLE_CHARS)
    except UnicodeDecodeError:
        return False
    widths = _widths(sample, _best_delimiter(sample, limits), whole=len(sample) < SAMPLE_CHARS, max_rows=SAMPLE_CHARS)
    return len(widths) > 1 and widths[0] > 1 and len(set(widths)) == 1


def _best_delimiter(sample: str, limits: Limits) -> str:
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


def _widths(sample: str, delimiter: str, *, whole: bool, max_rows: int = SAMPLE_ROWS) -> list[int]:
    """Return the fields of each record of a sample; unless it is the `whole` file, without the last one, cut short."""
    widths: list[int] = []
    try:
        records = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        widths.extend(len(record) for record in islice(records, max_rows) if record)
    except csv.Error:
        return widths
    return widths if whole or len(widths) in {1, max_rows} else widths[:-1]


def not_utf8(path: Path, header: int = 1) -> DatasetError:
    """Return the error that names the first line of a file that is not UTF-8; the first `header` lines are no rows."""
    number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            number += 1
            try:
                line.decode()
            except UnicodeDecodeError:
                break
    message = f"line {number} is not UTF-8 text; save the file in the encoding UTF-8"
    row = number - 1 - header if number > header else None
    return DatasetError(Code.ENCODING, message, [RowError(("file",), message, row)])
