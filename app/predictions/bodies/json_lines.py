"""JSON Lines: an input on every line."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from app.kit import strict_json
from app.kit.json_outline import VALUE_BYTES, parsed_bytes
from app.ml.interfaces import Rows
from app.predictions.bodies import plain_json
from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.bodies.lazy_rows import MIN_BYTES, LazyRows, sized_blocks, without_labels
from app.predictions.schemas import MAX_INPUTS

_LINE = re.compile(rb"[^\s][^\r\n]*")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BLOCK_BYTES = 8 << 20  # of memory that the objects of a block of text take, if it is not one line


class LineRows(LazyRows):
    """The lines of a body that are not blank, by their places."""

    def __init__(self, content: bytes, places: Sequence[tuple[int, int]]) -> None:
        self._content, self._places = content, places

    def __len__(self) -> int:
        return len(self._places)

    def blocks(self, max_rows: int) -> Iterator[tuple[int, Sequence[Any] | Rows]]:
        """Yield blocks of lines, each parsed; numbers as an array where all lines of a block have as many."""
        for start, stop in sized_blocks([end - begin for begin, end in self._places], max_rows):
            rows = [self._row(row) for row in range(start, stop)]
            shapes = {row.shape if isinstance(row, np.ndarray) else None for row in rows}
            yield start, np.stack(rows) if shapes != {None} and len(shapes) == 1 else rows

    def _row(self, row: int) -> Any:
        begin, end = self._places[row]
        line = self._content[begin:end]
        is_large = len(self._content) >= MIN_BYTES  # rows of small bodies stay lists, whatever is in them
        numbers = plain_json.read(b'{"inputs":[%b]}' % line) if is_large and line.startswith(b"[") else None
        if isinstance(numbers, np.ndarray) and len(numbers) == 1:
            return numbers[0]
        try:
            return without_labels(strict_json.loads(line))
        except strict_json.StrictJsonError as error:
            number = 1 + sum(1 for _ in _LINE_END.finditer(self._content, 0, begin))
            msg = f"line {number}: {error}"
            raise unreadable(msg, row) from None


def read(content: bytes) -> Sequence[Any]:
    """Return the inputs of all lines that are not blank. Raises UnprocessableError for a line that is no JSON."""
    rows = LineRows(content, _places(content))
    check_count(len(rows))
    return rows if len(content) >= MIN_BYTES else list(rows)


def _places(content: bytes) -> list[tuple[int, int]]:
    """Return the first and last places of the lines that are not blank, one more than are taken at most."""
    places = []
    start = len(BOM_UTF8) if content.startswith(BOM_UTF8) else 0
    for match in _LINE.finditer(content, start):
        places.append(match.span())
        if len(places) > MAX_INPUTS:
            break
    return places


def bytes_of_lines(content: bytes) -> int:
    """Return the bytes of memory that reading the lines takes at most: those of a block, and of the longest line."""
    if len(content) < MIN_BYTES:
        return parsed_bytes(content) + VALUE_BYTES * (content.count(b"\n") + content.count(b"\r"))
    longest = max(_places(content), key=lambda place: place[1] - place[0], default=(0, 0))
    return _BLOCK_BYTES + parsed_bytes(memoryview(content)[longest[0] : longest[1]])


FORM = BodyForm(
    ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"),
    (".jsonl", ".ndjson"),
    read,
    parsed_bytes=bytes_of_lines,
    schema={"type": "string", "description": "An input on each line, as in the list `inputs` of a JSON body."},
)
