"""Parses a CSV file into columns of text; no line is lost, and an error names its line.

Python's own parser is used: it is strict about quotes, knows its line and loses nothing.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.readers.headers import ANY_NUMBER
from app.datasets.readers.names import check_names
from app.datasets.readers.single_lines import split_line, squeeze_blanks
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


@dataclass(slots=True)
class Tally:
    """What a pass over a CSV file has counted so far: physical lines, and rows.

    `blank` lines were skipped and `trimmed` lines ended in empty fields too many; `spans` are the first records that
    look like several rows, `spanning` is their number. `repeated` lines held the names again; `ruled`: dashes stood
    below them.
    """

    lines: int = 0
    rows: int = 0
    blank: int = 0
    trimmed: int = 0
    spans: list[Span] = field(default_factory=list)
    spanning: int = 0
    repeated: int = 0
    ruled: bool = False

    def add(self, later: "Tally") -> None:
        """Add what was counted from zero on in the lines that follow."""
        moved = [Span(span.row + self.rows, span.line + self.lines, span.lines) for span in later.spans]
        self.spans = [*self.spans, *moved][:MAX_SPANS]
        self.lines += later.lines
        self.rows += later.rows
        self.blank += later.blank
        self.trimmed += later.trimmed
        self.spanning += later.spanning
        self.repeated += later.repeated
        self.ruled |= later.ruled


@dataclass(frozen=True, slots=True)
class Head:
    """The names of the columns, and the positions `unnamed` of those that got their names here.

    `header` is the record of the names where it has two at least, none a number: where it comes again, it is no row.
    """

    names: list[str]
    unnamed: tuple[int, ...]
    header: list[str] | None


class TableParser:
    """One pass over CSV text: with quoted fields over several lines, or (not `multiline`) line by line.

    It begins with the file, or with the rows that come after those of `tally` under a known `head`.
    """

    def __init__(
        self,
        file: io.TextIOWrapper,
        layout: Layout,
        context: Context,
        *,
        multiline: bool,
        head: Head | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._context = context
        self._limits = context.limits
        self._layout = layout
        self._multiline = multiline
        self._head = head
        self.tally = Tally(lines=layout.skipped if head is None else 0) if tally is None else tally
        self._record_lines: list[str] = []
        self._start = self.tally.lines
        lines = bounded_lines(file, self._record_lines, 0 if head is None else self._start)
        if layout.delimiter == " ":
            lines = (squeeze_blanks(line, " ") for line in lines)
        for _ in islice(lines, layout.skipped if head is None else 0):
            pass
        self._lines = lines
        self._rows = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=layout.padded, strict=True)
        self._width = None if head is None else len(head.names)
        self._ragged: list[RowError] = []
        self._short = 0
        self._records = self._filled_records()

    def head(self) -> Head:
        """Return the names of the columns; read them first, where they are not known."""
        if self._head is None:
            self._head = self._read_head()
            self._width = len(self._head.names)
        return self._head

    def batches(self) -> Iterator[list[Any]]:
        """Yield the columns of some rows after the others as Arrow arrays of strings.

        Raises:
            DatasetError: bad_csv, ragged_rows or too_large; or of the names.
        """
        head = self.head()
        for rows in self._batches(head):
            yield [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        if self._ragged:
            raise self._ragged_rows(len(head.names))

    def _read_head(self) -> Head:
        records = self._records
        first = next(records, [])
        if not self._layout.verdict.names:
            self._records = chain([first], records)
            return Head(check_names([f"x{j}" for j in range(len(first))], self._limits), (), None)
        named = len(first) > 1 and not any(ANY_NUMBER.fullmatch(name.strip()) for name in first)
        header = ["", *first] if self._layout.row_names else list(first)
        header[:1] = [name.removeprefix("# ") for name in header[:1]]
        if len(header) > 1 and not header[-1].strip():
            below = next(records, None)
            if below is not None:
                self._records = chain([below], records)
                header = header[:-1] if len(below) == len(header) - 1 else header
        unnamed = tuple(j for j, name in enumerate(header) if not name.strip())
        names = check_names(with_generated_names(header), self._limits)
        return Head(names, unnamed, list(first) if named else None)

    def _batches(self, head: Head) -> Iterator[list[list[str]]]:
        """Yield batches of rows of the right width, of a bounded number of cells and characters."""
        width = len(head.names)
        batch: list[list[str]] = []
        room = CELL_CHARS * BATCH_CELLS
        for record in self._full_rows(head.header, width):
            batch.append(record)
            room -= CELL_CHARS * width + sum(map(len, record))
            if room < 0:
                yield batch
                self._context.progress(0.25, f"{self.tally.rows} rows read")
                batch, room = [], CELL_CHARS * BATCH_CELLS
        if batch:
            yield batch

    def _full_rows(self, header: list[str] | None, width: int) -> Iterator[list[str]]:
        """Yield the rows of the right width, and collect errors of others."""
        tally = self.tally
        for record in self._records:
            if record == header:
                tally.repeated += 1
                continue
            if header is not None and not tally.rows and is_rule(record):
                tally.ruled = True
                continue
            if len(record) > width and not any(record[width:]):
                del record[width:]
                tally.trimmed += 1
            if len(record) != width:
                message = f"line {tally.lines} has {len(record)} fields and the header has {width}; correct the line"
                self._ragged.append(RowError(("file",), message, tally.rows))
                self._short += len(record) < width
            elif not self._ragged:
                yield record
            tally.rows += 1
            if tally.rows > self._limits.rows or tally.rows * width > self._limits.cells:
                message = f"the table is larger than {self._limits.rows} rows or {self._limits.cells} cells"
                raise DatasetError(Code.TOO_LARGE, f"{message}; upload less")
            if len(self._ragged) >= MAX_ROW_ERRORS:
                return

    def _ragged_rows(self, width: int) -> DatasetError:
        """Return the error of rows of unequal length: of a table, or of lines that are none."""
        is_table = width > 1 and (not self._short or self.tally.rows > 2 * len(self._ragged))
        name = DELIMITER_NAMES.get(self._layout.delimiter, repr(self._layout.delimiter))
        advice = f"put a text that holds a {name} between double quotes"
        if not is_table:
            advice = "if this is plain text, give the modality text"
        elif self._short == len(self._ragged):
            advice = "or delete it where it is no row of the table"
        return DatasetError(Code.RAGGED_ROWS, f"{self._ragged[0].msg}; {advice}", self._ragged)

    def _filled_records(self) -> Iterator[list[str]]:
        """Yield the records that are not blank."""
        for record in self._parsed():
            if record and (len(record) > 1 or self._width == 1 or record[0].strip()):
                yield record
            else:
                self.tally.blank += 1

    def _parsed(self) -> Iterator[list[str]]:
        """Yield records, and remember those over several lines that look like several rows."""
        tally = self.tally
        if not self._multiline:
            for line in self._lines:
                self._record_lines.clear()
                tally.lines += 1
                fields = split_line(line, self._layout.delimiter, self._width)
                if len(line) > self._limits.field_chars and max(map(len, fields)) > self._limits.field_chars:
                    raise self._syntax_error(LONG_FIELD)
                yield fields
            return
        self._record_lines.clear()
        try:
            for record in self._rows:
                before, tally.lines = tally.lines, self._start + self._rows.line_num
                if tally.lines > before + 1 and self._width is not None:
                    self._remember_span(before + 1)
                self._record_lines.clear()
                yield record
        except csv.Error as error:
            raise self._syntax_error(str(error)) from error

    def _remember_span(self, line: int) -> None:
        assert self._width is not None
        if holds_rows(self._record_lines, self._layout.delimiter, self._width):
            self.tally.spanning += 1
            if len(self.tally.spans) < MAX_SPANS:
                self.tally.spans.append(Span(self.tally.rows, line, tuple(self._record_lines)))

    def _syntax_error(self, what: str) -> DatasetError:
        line = self._start + self._rows.line_num if self._multiline else self.tally.lines
        if LONG_FIELD in what:
            what = f"a field is longer than {self._limits.field_chars} characters; is a quote left open?"
        elif "end of data" in what:
            what = "a quote that was opened is never closed"
        else:
            what = "text follows a closing quote; double the quotes inside a quoted field"
        message = f"line {line}: {what}"
        return DatasetError(Code.BAD_CSV, message, [RowError(("file",), message, self.tally.rows)])


def is_rule(record: list[str]) -> bool:
    """Return whether a record is the line below the names of a table in Markdown, or as SQL shells draw it."""
    fields = [field for field in map(str.strip, record) if field]
    return bool(fields) and all(RULE.fullmatch(field) for field in fields)


def bounded_lines(file: io.TextIOWrapper, record_lines: list[str], number: int = 0) -> Iterator[str]:
    """Yield lines of bounded length and without NUL, and append them to those of the record at hand.

    `number` lines came before.
    """
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
