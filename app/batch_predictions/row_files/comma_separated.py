"""CSV: laid out as preparation sees it in the first lines, and read row by row; a line of another width is an error.

The first line holds names where it has any name of the training file. As in preparation blank lines, a repeated header
and the dashes below it are no rows, and quotes without a partner make each line a row.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import pyarrow as pa

from app.batch_predictions.row_files.base import Block, ColumnType, Item, Opening, blocks_of
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import TextColumn
from app.datasets.limits import Limits
from app.datasets.readers.csv import read_sample
from app.datasets.readers.csv_parsing import MAX_SPANS, bounded_lines, is_rule
from app.datasets.readers.encodings import not_utf8
from app.datasets.readers.headers import HeaderVerdict
from app.datasets.readers.names import check_names
from app.datasets.readers.single_lines import split_line, squeeze_blanks
from app.datasets.readers.stray_quotes import Span, holds_rows, judge_spans
from app.datasets.readers.table_layout import Layout, sniff
from app.datasets.readers.unnamed_columns import with_generated_names
from app.ml.spec import WarningCode

_LIMITS = Limits()
_CELL_BYTES = 64
_TICK_ROWS = 1 << 12
_MAX_SAMPLE_ROWS, _MAX_SAMPLE_CHARACTERS = 2000, 4 << 20
Record = list[str] | str  # the fields of a row, or why it has none


@dataclass(slots=True)
class _Scan:
    """What a pass over the file has counted; `spanning` rows hold whole lines of the table between quotes."""

    rows: int = 0
    ragged: int = 0
    spanning: int = 0
    spans: list[Span] = field(default_factory=list)  # the first of these rows
    sample: list[list[str]] = field(default_factory=list)  # the first rows of the right width
    characters: int = 0  # in the sample

    def add(self, record: Record, lines: list[str], delimiter: str, width: int) -> None:
        """Count a row, which stands on these lines."""
        if isinstance(record, str):
            self.ragged += 1
        elif len(self.sample) < _MAX_SAMPLE_ROWS and self.characters < _MAX_SAMPLE_CHARACTERS:
            self.sample.append(record)
            self.characters += sum(map(len, record))
        if len(lines) > 1 and holds_rows(lines, delimiter, width):
            self.spanning += 1
            if len(self.spans) < MAX_SPANS:
                self.spans.append(Span(self.rows, 0, tuple(lines)))
        self.rows += 1


class CommaSeparated:
    """A CSV file in UTF-8."""

    def __init__(self, path: Path, opening: Opening) -> None:
        csv.field_size_limit(_LIMITS.field_chars)
        self._path, self._opening = path, opening
        try:
            with _open(path) as file:
                sample, whole = read_sample(file)
            self._layout = _layout(sample, opening, whole=whole)
            self._multiline, self._repeated = True, 0
            self._names = self._read_names()
            self._rows = self._scan_all()
        except UnicodeDecodeError as error:
            raise not_utf8(path) from error
        if not self._rows:
            raise DatasetError(Code.EMPTY_DATASET, "the file holds a header and no rows")
        if self._repeated:
            message = f"{self._repeated} lines hold the names of the columns again, and are no rows"
            opening.notes.warn(WarningCode.REPEATED_HEADER, message, count=self._repeated)

    @property
    def rows(self) -> int:
        """Records below the header that are not blank."""
        return self._rows

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The names in the header; all hold texts."""
        return dict.fromkeys(self._names, "text")

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on."""
        yield from blocks_of(self._items(start), start)

    def _items(self, start: int) -> Iterator[Item]:
        for record in islice(self._records(), start, None):
            if isinstance(record, str):
                yield Item(None, record, _CELL_BYTES)
            else:
                size = sum(map(len, record)) + _CELL_BYTES * len(record)
                yield Item(dict(zip(self._names, record, strict=True)), None, size)

    def _scan_all(self) -> int:
        """Return the number of rows; read line by line where quotes are unsound, or hold whole rows."""
        try:
            scan = self._scan()
        except csv.Error:
            self._multiline = False
            rows = self._scan().rows
            self._warn_of_quotes("quotes without a partner in their line are part of the text", 0)
            return rows
        verdict = self._verdict(scan) if scan.spanning else "texts"
        if verdict == "rows":
            self._multiline = False
            by_line = self._scan()
            if by_line.ragged <= scan.ragged:
                self._warn_of_quotes("quotes hold whole rows, which were read line by line", by_line.rows - scan.rows)
                return by_line.rows
            self._multiline = True
        if verdict != "texts":
            self._warn_of_quotes(f"{scan.spanning} quoted fields over several lines may hold whole rows", scan.spanning)
        return scan.rows

    def _warn_of_quotes(self, message: str, count: int) -> None:
        remedy = "double the quotes inside a quoted field"
        self._opening.notes.warn(WarningCode.STRAY_QUOTES, message, count=count, remedy=remedy)

    def _verdict(self, scan: _Scan) -> str:
        """Return what fields over several lines are, by the fields of the first rows."""
        if not scan.sample:
            return "doubtful"
        columns = [
            TextColumn(name, pa.chunked_array([pa.array(values, pa.string())]))
            for name, values in zip(self._names, zip(*scan.sample, strict=True), strict=True)
        ]
        return judge_spans(scan.spans, scan.spanning / scan.rows, self._layout.delimiter, columns)

    def _scan(self) -> _Scan:
        """Count the rows. Raises csv.Error where a quote is unsound."""
        scan = _Scan()
        lines: list[str] = []
        for record in self._records(lines):
            scan.add(record, lines if self._multiline else [], self._layout.delimiter, len(self._names))
        return scan

    def _records(self, record_lines: list[str] | None = None) -> Iterator[Record]:
        """Yield the rows; `record_lines` holds the lines of the row at hand."""
        header = self._header if len(self._header) > 1 else None
        width, rows = len(self._names), 0
        self._repeated = 0
        with _open(self._path) as file:
            records = self._parsed(file, [] if record_lines is None else record_lines)
            for _ in range(self._layout.verdict.names):
                next(records, None)
            for line, record in records:
                if not record or (len(record) == 1 < width and not record[0].strip()):
                    continue
                if record == header:
                    self._repeated += 1
                    continue
                if header is not None and not rows and is_rule(record):
                    continue
                rows += 1
                if rows % _TICK_ROWS == 0:
                    self._opening.tick()
                yield _checked(record, width, line)

    def _parsed(self, file: io.TextIOWrapper, record_lines: list[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the last line of each record below the titles, and its fields."""
        layout = self._layout
        lines = bounded_lines(file, record_lines)
        for _ in islice(lines, layout.skipped):
            pass
        if layout.delimiter == " ":
            lines = (squeeze_blanks(line, " ") for line in lines)
        record_lines.clear()
        if not self._multiline:
            for number, line in enumerate(lines, layout.skipped + 1):
                record_lines.clear()
                yield number, split_line(line, layout.delimiter)
            return
        records = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=layout.padded, strict=True)
        for record in records:
            yield layout.skipped + records.line_num, record
            record_lines.clear()

    def _read_names(self) -> list[str]:
        """Return the names of the columns; x0, x1 ... where the file has none."""
        self._header: list[str] = []
        with _open(self._path) as file:
            records = self._parsed(file, [])
            first = _fields(records)
            below = _fields(records) if len(first) > 1 and not first[-1].strip() else []
        if not self._layout.verdict.names:
            return check_names([f"x{place}" for place in range(len(first))], _LIMITS)
        self._header = first
        names = ["", *first] if self._layout.row_names else first
        names = [names[0].removeprefix("# "), *names[1:]] if names else names
        if len(names) > 1 and not names[-1].strip() and len(below) == len(names) - 1:
            names = names[:-1]
        return check_names(with_generated_names(names), _LIMITS)


def _open(path: Path) -> io.TextIOWrapper:
    return path.open(encoding="utf-8-sig", newline="")


def _fields(records: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the fields of the next record; none where there is none, or its quotes are unsound."""
    try:
        return next(records, (0, []))[1]
    except csv.Error:
        return []


def _checked(record: list[str], width: int, line: int) -> Record:
    """Return the fields of a row, without empty ones too many, or what is wrong with their number."""
    if len(record) > width and not any(record[width:]):
        return record[:width]
    if len(record) != width:
        return f"line {line} has {len(record)} fields and the header has {width}"
    return record


def _layout(sample: str, opening: Opening, *, whole: bool) -> Layout:
    """Return how the file is laid out; names of the training file's columns decide whether the first line has names."""
    expected = opening.expected
    layout = sniff(sample, _LIMITS, whole=whole)
    lines = sample.splitlines()[layout.skipped : layout.skipped + 1]
    first = [field.strip() for field in split_line(lines[0], layout.delimiter)] if lines else []
    known = not expected.names.isdisjoint(first)
    generated = all(name.startswith("x") and name[1:].isdecimal() for name in expected.inputs)
    if known and not layout.verdict.names:
        return replace(layout, verdict=HeaderVerdict(names=True, reason="it has names of the training file"))
    if layout.verdict.names and not known and generated and len(first) == len(expected.inputs):
        return replace(layout, verdict=HeaderVerdict(names=False, reason="the training file had no names"))
    return layout


def is_table(sample: str, opening: Opening, *, whole: bool) -> bool:
    """Return whether the first line of a text file has a name of the training file's columns."""
    layout = _layout(sample, opening, whole=whole)
    lines = sample.splitlines()[layout.skipped : layout.skipped + 1]
    fields = {field.strip() for line in lines for field in split_line(line, layout.delimiter)}
    return not opening.expected.names.isdisjoint(fields)
