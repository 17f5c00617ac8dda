"""CSV with a header, as the training file was: a row is an object of texts, which are read by the columns' types.

Of a large body a row is known by its place, or, where there are quotes, by its fields in one text; it becomes an object
when it is asked for.
"""

import csv
import io
import re
from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.datasets.readers.headers import ANY_NUMBER
from app.datasets.readers.single_lines import split_line, squeeze_blanks
from app.kit.json_outline import count_bytes, text_bytes
from app.ml.interfaces import Rows
from app.predictions.bodies.csv_records import MAX_WIDTH, PackedRecords, PlainRecords, Records, too_wide, widest_line
from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.bodies.lazy_rows import MIN_BYTES, LazyRows, sized_blocks, without_labels
from app.predictions.schemas import MAX_INPUTS

DELIMITERS = ",;\t|^~\x01\u00a6"
_SEPARATOR_LINE = re.compile(r"sep=([^\w\"\r\n])\r?\n", re.IGNORECASE)
_CELL_BYTES = 128
_BLOCK_CELLS = 1 << 16  # that the text of a block may hold
_RECORD_BYTES = 160
_HEAD_BYTES = 1 << 16
_DECODED_BYTES = 1 << 18
_RULE = re.compile(r":?-{2,}[-+]*:?")


class CsvRows(LazyRows):
    """The rows of a CSV: records from number `first` on, as objects by the names of the header."""

    def __init__(self, records: Records, first: int, names: Sequence[str]) -> None:
        self._records, self._first, self._names = records, first, names

    def __len__(self) -> int:
        return len(self._records) - self._first

    def blocks(self, max_rows: int) -> Iterator[tuple[int, Sequence[Any] | Rows]]:
        """Yield blocks of objects."""
        sizes = [self._records.size(record) for record in range(self._first, len(self._records))]
        for start, stop in sized_blocks(sizes, max_rows):
            yield start, [self._row(row) for row in range(start, stop)]

    def _row(self, row: int) -> Any:
        fields = self._records.fields(self._first + row)[: len(self._names)]
        return without_labels(dict(zip(self._names, fields, strict=True)))


def read(content: bytes) -> Sequence[Any]:
    """Return the rows of a CSV.

    Raises:
        UnprocessableError: it is no UTF-8, has no header or too many rows, or a row has another number of fields.
        TooLargeError: a row has too many fields.
    """
    start = len(BOM_UTF8) if content.startswith(BOM_UTF8) else 0
    _check_utf8(content)
    head = content[start : start + _HEAD_BYTES].decode("utf-8", "ignore")
    separator = _SEPARATOR_LINE.match(head)
    if separator is not None:
        start += len(head[: separator.end()].encode())
        head = head[separator.end() :]
    delimiter = separator[1] if separator else _delimiter(head)
    records = _records(content, start, delimiter, head)
    names, first = _table(records)
    check_count(len(records) - first)
    if len(set(names)) < len(names):
        msg = "two columns of the CSV have the same name"
        raise unreadable(msg)
    for row in range(len(records) - first):
        width = records.width(first + row)
        if width != len(names) and (width < len(names) or any(records.fields(first + row)[len(names) :])):
            msg = f"row {row} has {width} fields and the header has {len(names)}"
            raise unreadable(msg, row)
    rows = CsvRows(records, first, names)
    return rows if len(content) >= MIN_BYTES else list(rows)


def _check_utf8(content: bytes) -> None:
    """Raise UnprocessableError for other bytes, of which a few are decoded at a time."""
    decoder = getincrementaldecoder("utf-8")()
    try:
        for place in range(0, len(content), _DECODED_BYTES):
            decoder.decode(content[place : place + _DECODED_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        msg = "the CSV is not UTF-8: save it as UTF-8"
        raise unreadable(msg) from None


def _records(content: bytes, start: int, delimiter: str, head: str) -> Records:
    """Return the records of a body from a place on, one more than are taken at most, and the header."""
    if b'"' not in content:
        plain = PlainRecords(content, start, delimiter, MAX_INPUTS + 2)
        if delimiter.encode() in content or not _is_parted_by_blanks(plain):
            return plain
        return PlainRecords(content, start, " ", MAX_INPUTS + 2)
    is_squeezed = delimiter.encode() not in content and _is_parted_by_blanks(
        PlainRecords(content, start, delimiter, MAX_INPUTS + 2)
    )
    delimiter = " " if is_squeezed else delimiter
    padded = any(f'{delimiter} "' in line for line in head.splitlines()[:2])  # "a", "b"
    lines = _Bounded(_lines(content, start, squeezed=is_squeezed), delimiter)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=padded, strict=True)
    try:
        return PackedRecords(lines.one_by_one(reader), MAX_INPUTS + 2)
    except csv.Error as error:
        split = (split_line(line, delimiter) for line in _lines(content, start, squeezed=is_squeezed) if line.strip())
        records = PackedRecords(split, MAX_INPUTS + 2)  # quotes without a partner in their line are part of the text
        if "expected after" not in str(error) or len(set(records.widths)) > 1:  # else a quote is open
            msg = f"line {reader.line_num}: {error}"
            raise unreadable(msg) from None
        return records


def _lines(content: bytes, start: int, *, squeezed: bool) -> Iterator[str]:
    file = io.BytesIO(content)
    file.seek(start)
    lines = io.TextIOWrapper(file, "utf-8", newline="")
    return (squeeze_blanks(line, " ") for line in lines) if squeezed else lines


class _Bounded:
    """Lines of which each record takes a bounded number of fields."""

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        self._lines, self._delimiter = lines, delimiter
        self._count = 0  # of delimiters in the lines of the record at hand

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._count += line.count(self._delimiter)
            if self._count >= MAX_WIDTH:
                raise too_wide()
            yield line

    def one_by_one(self, records: Iterable[list[str]]) -> Iterator[list[str]]:
        """Yield the records that are made of the lines. Raises TooLargeError."""
        for record in records:
            self._count = 0
            yield record


def _is_parted_by_blanks(records: PlainRecords) -> bool:
    """Return whether all lines have equally many words, more than one, and those below the first are mostly numbers."""
    widths, words, numbers = set[int](), 0, 0
    for record in range(len(records)):
        line = records.text(record).split()
        if not line:
            continue
        if widths:
            words += len(line)
            numbers += sum(ANY_NUMBER.fullmatch(word) is not None for word in line)
        widths.add(len(line))
        if len(widths) > 1 or 1 in widths:
            return False
    return 2 * numbers >= words > 0


def _table(records: Records) -> tuple[list[str], int]:
    """Return the names of the columns, and the first record of the rows.

    Titles before the header, dashes below it and delimiters at the ends of all lines are none of these.
    """
    count, header = len(records), 0
    if not count:
        return [], 0
    width = max(records.width(record) for record in range(count))
    while count - header > 1 and width > 1 and _is_title(records.fields(header), width):
        header += 1
    names, first = records.fields(header), header + 1
    below = records.fields(first) if first < count else []
    if any(below) and all(_RULE.fullmatch(field.strip()) for field in below if field.strip()):
        first += 1
    is_open = len(names) > 1 and not names[-1].strip()
    if is_open and all(records.ends_blank(record, len(names)) for record in range(first, count)):
        names = names[:-1]
    return names, first


def _is_title(fields: Sequence[str], width: int) -> bool:
    return not any(fields[1:]) or (fields[0].startswith("#") and len(fields) < width)


def _delimiter(head: str) -> str:
    """Return the delimiter that stands most often in the first line that has one, outside quotes, but for comments."""
    lines = (re.sub(r'"[^"]*"', "", line) for line in head.split("\n", 3)[:3] if not line.startswith("#"))
    first = next((line for line in lines if any(sign in line for sign in DELIMITERS)), "")
    return max(DELIMITERS, key=first.count)


def parsed_bytes(content: bytes) -> int:
    """Return the bytes of memory that the rows take at most: all of a small body, else some of a large one."""
    lines = count_bytes(content, b"\n\r") + 1
    cells = lines + count_bytes(content, DELIMITERS.encode("latin-1"))
    if cells < 2 * lines:  # no delimiter: blanks may part the fields
        cells += count_bytes(content, b" ")
    if len(content) < MIN_BYTES:
        return 3 * text_bytes(content) + _CELL_BYTES * cells
    has_quotes = b'"' in content  # between which a record may go over many lines
    widest = MAX_WIDTH if has_quotes else widest_line(content, (*DELIMITERS, " "), MAX_INPUTS + 2)
    kept = min(lines, MAX_INPUTS + 2) * _RECORD_BYTES + _CELL_BYTES * min(cells, widest + _BLOCK_CELLS)
    return kept + (2 * text_bytes(content) if has_quotes else 0)


FORM = BodyForm(
    ("text/csv", "application/csv", "text/tab-separated-values"),
    (".csv", ".tsv"),
    read,
    parsed_bytes=parsed_bytes,
    schema={"type": "string", "description": "A header with the training file's names of columns, then rows."},
)
