"""CSV with a header, as the training file was: a row is an object of texts, which are read by the columns' types."""

import csv
import io
import re
from itertools import islice
from typing import Any

from app.datasets.readers.headers import ANY_NUMBER
from app.datasets.readers.single_lines import split_line, squeeze_blanks
from app.kit.json_outline import count_bytes, text_bytes
from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.schemas import MAX_INPUTS

DELIMITERS = ",;\t|^~\x01\u00a6"
_SEPARATOR_LINE = re.compile(r"sep=([^\w\"\r\n])\r?\n", re.IGNORECASE)
_CELL_BYTES = 128
_RULE = re.compile(r":?-{2,}[-+]*:?")


def read(content: bytes) -> list[Any]:
    """Return the rows of a CSV.

    Raises:
        UnprocessableError: it is no UTF-8, has no header or too many rows, or a row has another number of fields.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = "the CSV is not UTF-8: save it as UTF-8"
        raise unreadable(msg) from None
    separator = _SEPARATOR_LINE.match(text)
    text = text[separator.end() :] if separator else text
    delimiter = separator[1] if separator else _delimiter(text)
    if delimiter not in text and _is_parted_by_blanks(text):
        delimiter, text = " ", "\n".join(squeeze_blanks(line, " ") for line in text.splitlines())
    padded = any(f'{delimiter} "' in line for line in text.splitlines()[:2])  # "a", "b"
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=padded, strict=True)
    try:
        lines = list(islice((record for record in records if record), MAX_INPUTS + 2))
    except csv.Error as error:
        lines = _line_by_line(text, delimiter)
        if "expected after" not in str(error) or len({len(line) for line in lines}) > 1:  # else a quote is open
            msg = f"line {records.line_num}: {error}"
            raise unreadable(msg) from None
    header, *rows = _without_decoration(lines) or [[]]
    check_count(len(rows))
    if len(set(header)) < len(header):
        msg = "two columns of the CSV have the same name"
        raise unreadable(msg)
    for number, row in enumerate(rows):
        if len(row) != len(header):
            msg = f"row {number} has {len(row)} fields and the header has {len(header)}"
            raise unreadable(msg, number)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _is_parted_by_blanks(text: str) -> bool:
    """Return whether all lines have equally many words, more than one, and those below the first are mostly numbers."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    words = [word for line in lines[1:] for word in line]
    even = len({len(line) for line in lines}) == 1 and len(lines[0]) > 1
    return even and 2 * sum(ANY_NUMBER.fullmatch(word) is not None for word in words) >= len(words) > 0


def _line_by_line(text: str, delimiter: str) -> list[list[str]]:
    """Return the fields of each line; as in preparation, quotes without a partner in it are part of the text."""
    lines = islice(io.StringIO(text, newline=""), MAX_INPUTS + 2)
    return [split_line(line, delimiter) for line in lines if line.strip()]


def _without_decoration(lines: list[list[str]]) -> list[list[str]]:
    """Return the lines of a file without titles before it, dashes below the names and delimiters at their ends."""
    width = max((len(line) for line in lines), default=0)
    while len(lines) > 1 and width > 1 and (not any(lines[0][1:]) or _is_comment(lines[0], width)):
        lines = lines[1:]
    if len(lines) > 1 and any(lines[1]) and all(_RULE.fullmatch(field.strip()) for field in lines[1] if field.strip()):
        del lines[1]
    names = len(lines[0]) if lines else 0
    if names > 1 and not lines[0][-1].strip() and not any(line[names - 1 :] != [""] for line in lines[1:]):
        names -= 1
    return [line if any(line[names:]) else line[:names] for line in lines]


def _is_comment(line: list[str], width: int) -> bool:
    return line[0].startswith("#") and len(line) < width


def _delimiter(text: str) -> str:
    """Return the delimiter that stands most often in the first line that has one, outside quotes, but for comments."""
    lines = (re.sub(r'"[^"]*"', "", line) for line in text.split("\n", 3)[:3] if not line.startswith("#"))
    first = next((line for line in lines if any(sign in line for sign in DELIMITERS)), "")
    return max(DELIMITERS, key=first.count)


def parsed_bytes(content: bytes) -> int:
    """Return the bytes of memory that the rows take at most: text, fields, and an entry of a row's object for each."""
    lines = count_bytes(content, b"\n\r") + 1
    cells = lines + count_bytes(content, DELIMITERS.encode("latin-1"))
    if cells < 2 * lines:  # no delimiter: blanks may part the fields
        cells += count_bytes(content, b" ")
    return 3 * text_bytes(content) + _CELL_BYTES * cells


FORM = BodyForm(
    ("text/csv", "application/csv", "text/tab-separated-values"),
    (".csv", ".tsv"),
    read,
    parsed_bytes=parsed_bytes,
    schema={"type": "string", "description": "A header with the training file's names of columns, then rows."},
)
