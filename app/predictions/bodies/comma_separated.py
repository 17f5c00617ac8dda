"""CSV with a header, as the training file was: a row is an object of texts, which are read by the columns' types."""

import csv
import io
import re
from itertools import islice
from typing import Any

from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.schemas import MAX_INPUTS

DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r"sep=([,;\t|])\r?\n", re.IGNORECASE)


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
    padded = any(f'{delimiter} "' in line for line in text.splitlines()[:2])  # "a", "b"
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=padded, strict=True)
    try:
        lines = list(islice((record for record in records if record), MAX_INPUTS + 2))
    except csv.Error as error:
        msg = f"line {records.line_num}: {error}"
        raise unreadable(msg) from None
    check_count(len(lines) - 1 if lines else 0)
    header, *rows = lines
    if len(set(header)) < len(header):
        msg = "two columns of the CSV have the same name"
        raise unreadable(msg)
    for number, row in enumerate(rows):
        if len(row) != len(header):
            msg = f"row {number} has {len(row)} fields and the header has {len(header)}"
            raise unreadable(msg, number)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _delimiter(text: str) -> str:
    """Return the delimiter that stands most often in the first line, outside quotes; a comma where none does."""
    first = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    return max(DELIMITERS, key=first.count)


FORM = BodyForm(
    ("text/csv", "application/csv", "text/tab-separated-values"),
    (".csv", ".tsv"),
    read,
    schema={"type": "string", "description": "A header with the training file's names of columns, then rows."},
)
