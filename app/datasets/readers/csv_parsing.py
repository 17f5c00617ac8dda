"""Parses a CSV file into columns of text; no line is lost, and an error names its line.

Python's own parser is used: it is strict about quotes, knows its line and loses nothing.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import TextColumn
from app.datasets.readers.headers import ANY_NUMBER
from app.datasets.readers.names import check_names
from app.datasets.readers.single_lines import split_line, squeeze_blanks
from app.datasets.readers.spill import spill_all
from app.datasets.readers.stray_quotes import Span, holds_rows
from app.datasets.readers.table_layout import DELIMITER_NAMES, Layout
from app.datasets.readers.unnamed_columns import with_generated_names

MAX_LINE = 16 << 20
BATCH_CELLS = 1 << 18
CELL_CHARS = 64
MAX_ROW_ERRORS = 20
MAX_SPANS = 20
RULE = re.compile(r":?(-{2,}|={3,})[-+=]*:?")
LONG_FIELD = "field larger"  # as Python's parser says it


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a CSV file, all text; columns at the positions `unnamed` got their names here.

    `blank` lines were skipped and `trimmed` lines ended in empty fields too many; `spans` are records that look like
    several rows, `spanning` is their number. `repeated` lines held the names again; `ruled`: dashes stood below them.
    """

    columns: tuple[TextColumn, ...]
    rows: int
    unnamed: tuple[int, ...]
    blank: int
    trimmed: int
    spans: tuple[Span, ...]
    spanning: int
    repeated: int
    ruled: bool


class TableParser:
    """One pass over an open CSV file: with quoted fields over several lines, or (not `multiline`) line by line."""

    def __init__(self, file: io.TextIOWrapper, layout: Layout, context: Context, *, multiline: bool) -> None:
        self._context = context
        self._limits = context.limits
        self._layout = layout
        self._multiline = multiline
        self._record_lines: list[str] = []
        self._line = layout.skipped
        lines = bounded_lines(file, self._record_lines)
        if layout.delimiter == " ":
            lines = (squeeze_blanks(line, " ") for line in lines)
        for _ in islice(lines, layout.skipped):
            pass
        self._lines = lines
        self._rows = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=layout.padded, strict=True)
        self._width: int | None = None
        self._count = self._blank = self._trimmed = self._spanning = 0
        self._ragged: list[RowError] = []
        self._even = 0
        self._short = 0
        self._spans: list[Span] = []
        self._header: list[str] | None = None  # names of two columns at least, none a number
        self._repeated = 0
        self._ruled = False

    def read(self) -> Table:
        """Return all columns, large ones from mapped files."""
        records = self._records()
        names, unnamed, records = self._names(records)
        self._width = len(names)
        chunks: list[list[Any]] = [[] for _ in names]
        for rows in self._batches(records, len(names)):
            arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
            for column, values in zip(chunks, spill_all(arrays, self._context.scratch), strict=True):
                column.append(values)
        if self._ragged:
            raise self._ragged_rows(len(names))
        columns = tuple(
            TextColumn(name, pa.chunked_array(column, pa.string())) for name, column in zip(names, chunks, strict=True)
        )
        spans = tuple(self._spans)
        return Table(
            columns,
            self._count,
            unnamed,
            self._blank,
            self._trimmed,
            spans,
            self._spanning,
            self._repeated,
            ruled=self._ruled,
        )

    def _names(self, records: Iterator[list[str]]) -> tuple[list[str], tuple[int, ...], Iterator[list[str]]]:
        """Return the names of the columns, the positions of those without one, and the records of the rows."""
        first = next(records, [])
        if not self._layout.verdict.names:
            return check_names([f"x{j}" for j in range(len(first))], self._limits), (), chain([first], records)
        named = len(first) > 1 and not any(ANY_NUMBER.fullmatch(field.strip()) for field in first)
        self._header = list(first) if named else None
        header = ["", *first] if self._layout.row_names else first
        header[:1] = [name.removeprefix("# ") for name in header[:1]]
        if len(header) > 1 and not header[-1].strip():
            below = next(records, None)
            if below is not None:
                records = chain([below], records)
                header = header[:-1] if len(below) == len(header) - 1 else header
        unnamed = tuple(j for j, name in enumerate(header) if not name.strip())
        return check_names(with_generated_names(header), self._limits), unnamed, records

    def _batches(self, records: Iterator[list[str]], width: int) -> Iterator[list[list[str]]]:
        """Yield batches of rows of the right width, of a bounded number of cells and characters."""
        batch: list[list[str]] = []
        room = CELL_CHARS * BATCH_CELLS
        for record in self._full_rows(records, width):
            batch.append(record)
            room -= CELL_CHARS * width + sum(map(len, record))
            if room < 0:
                yield batch
                self._context.progress(0.25, f"{self._count} rows read")
                batch, room = [], CELL_CHARS * BATCH_CELLS
        if batch:
            yield batch

    def _full_rows(self, records: Iterator[list[str]], width: int) -> Iterator[list[str]]:
        """Yield the rows of the right width, and collect errors of others."""
        for record in records:
            if record == self._header:
                self._repeated += 1
                continue
            if self._header is not None and not self._count and is_rule(record):
                self._ruled = True
                continue
            if len(record) > width and not any(record[width:]):
                del record[width:]
                self._trimmed += 1
            if len(record) != width:
                message = f"line {self._line} has {len(record)} fields and the header has {width}; correct the line"
                self._ragged.append(RowError(("file",), message, self._count))
                self._short += len(record) < width
            else:
                self._even += 1
                if not self._ragged:
                    yield record
            self._count += 1
            if self._count > self._limits.rows or self._count * width > self._limits.cells:
                message = f"the table is larger than {self._limits.rows} rows or {self._limits.cells} cells"
                raise DatasetError(Code.TOO_LARGE, f"{message}; upload less")
            if len(self._ragged) >= MAX_ROW_ERRORS:
                return

    def _ragged_rows(self, width: int) -> DatasetError:
        """Return the error of rows of unequal length: of a table, or of lines that are none."""
        is_table = width > 1 and (not self._short or self._even > len(self._ragged))
        name = DELIMITER_NAMES.get(self._layout.delimiter, repr(self._layout.delimiter))
        advice = f"put a text that holds a {name} between double quotes"
        if not is_table:
            advice = "if this is plain text, give the modality text"
        elif self._short == len(self._ragged):
            advice = "or delete it where it is no row of the table"
        return DatasetError(Code.RAGGED_ROWS, f"{self._ragged[0].msg}; {advice}", self._ragged)

    def _records(self) -> Iterator[list[str]]:
        """Yield the records that are not blank."""
        for record in self._parsed():
            if record and (len(record) > 1 or self._width == 1 or record[0].strip()):
                yield record
            else:
                self._blank += 1

    def _parsed(self) -> Iterator[list[str]]:
        """Yield records, and remember those over several lines that look like several rows."""
        if not self._multiline:
            for line in self._lines:
                self._record_lines.clear()
                self._line += 1
                fields = split_line(line, self._layout.delimiter, self._width)
                if len(line) > self._limits.field_chars and max(map(len, fields)) > self._limits.field_chars:
                    raise self._syntax_error(LONG_FIELD)
                yield fields
            return
        self._record_lines.clear()
        try:
            for record in self._rows:
                before, self._line = self._line, self._layout.skipped + self._rows.line_num
                if self._line > before + 1 and self._width is not None:
                    self._remember_span(before + 1)
                self._record_lines.clear()
                yield record
        except csv.Error as error:
            raise self._syntax_error(str(error)) from error

    def _remember_span(self, line: int) -> None:
        assert self._width is not None
        if holds_rows(self._record_lines, self._layout.delimiter, self._width):
            self._spanning += 1
            if len(self._spans) < MAX_SPANS:
                self._spans.append(Span(self._count, line, tuple(self._record_lines)))

    def _syntax_error(self, what: str) -> DatasetError:
        line = self._layout.skipped + self._rows.line_num if self._multiline else self._line
        if LONG_FIELD in what:
            what = f"a field is longer than {self._limits.field_chars} characters; is a quote left open?"
        elif "end of data" in what:
            what = "a quote that was opened is never closed"
        else:
            what = "text follows a closing quote; double the quotes inside a quoted field"
        message = f"line {line}: {what}"
        return DatasetError(Code.BAD_CSV, message, [RowError(("file",), message, self._count)])


def is_rule(record: list[str]) -> bool:
    """Return whether a record is the line below the names of a table in Markdown, or as SQL shells draw it."""
    fields = [field for field in map(str.strip, record) if field]
    return bool(fields) and all(RULE.fullmatch(field) for field in fields)


def bounded_lines(file: io.TextIOWrapper, record_lines: list[str]) -> Iterator[str]:
    """Yield lines of bounded length and without NUL, and append them to those of the record at hand."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if "\0" in line:
            message = f"line {number} holds a NUL character; remove it"
            raise DatasetError(Code.BAD_CSV, message, [RowError(("file",), message)])
        if len(line) >= MAX_LINE:
            message = f"line {number} is longer than {MAX_LINE} characters; is this a CSV file?"
            raise DatasetError(Code.TOO_LARGE, message, [RowError(("file",), message)])
        record_lines.append(line)
        yield line
