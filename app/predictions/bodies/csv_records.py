"""The records of a CSV in little memory: how many fields each has, and the fields of one when they are asked for."""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Protocol

from app.datasets.readers.single_lines import squeeze_blanks
from app.errors import TooLargeError

MAX_WIDTH = 1 << 17  # fields of a record
_LINE = re.compile(rb"[^\r\n]+")
_PARTING = "\x1f"  # between the fields of a record in one text, which hardly a field holds


class Records(Protocol):
    """Records that are not empty."""

    def __len__(self) -> int: ...

    def width(self, record: int) -> int:
        """Return how many fields a record has."""
        ...

    def size(self, record: int) -> int:
        """Return how long the text of a record is, in bytes or characters."""
        ...

    def fields(self, record: int) -> list[str]:
        """Return the fields of a record."""
        ...

    def ends_blank(self, record: int, width: int) -> bool:
        """Return whether a record has so many fields, and the last is empty."""
        ...


class PlainRecords:
    """Lines of a body without quotes, by their places; blanks in a row part fields as one does."""

    def __init__(self, content: bytes, start: int, delimiter: str, count: int) -> None:
        self._content, self._delimiter = content, delimiter
        self._places = [match.span() for match in islice(_LINE.finditer(content, start), count)]
        sign = delimiter.encode()
        self._widths = [
            len(self.fields(record)) if delimiter == " " else content.count(sign, *place) + 1
            for record, place in enumerate(self._places)
        ]
        _check_widths(self._widths)

    def __len__(self) -> int:
        return len(self._places)

    def width(self, record: int) -> int:
        """Return how many fields a record has."""
        return self._widths[record]

    def size(self, record: int) -> int:
        """Return how many bytes a record has."""
        begin, end = self._places[record]
        return end - begin

    def text(self, record: int) -> str:
        """Return the line."""
        begin, end = self._places[record]
        return self._content[begin:end].decode()

    def fields(self, record: int) -> list[str]:
        """Return the fields of a record."""
        text = self.text(record)
        return (squeeze_blanks(text, " ") if self._delimiter == " " else text).split(self._delimiter)

    def ends_blank(self, record: int, width: int) -> bool:
        """Return whether a record has so many fields, and the last is empty."""
        return self._widths[record] == width and not self.fields(record)[-1]


class PackedRecords:
    """Records that a parser yields, each kept as one text."""

    def __init__(self, records: Iterable[list[str]], count: int) -> None:
        self.widths: list[int] = []
        self._texts: list[str] = []
        self._unusual: dict[int, list[str]] = {}  # whose fields hold the sign that parts them
        for record in islice((record for record in records if record), count):
            text = _PARTING.join(record)
            if text.count(_PARTING) != len(record) - 1:
                self._unusual[len(self.widths)], text = record, ""
            self._texts.append(text)
            self.widths.append(len(record))
        _check_widths(self.widths)

    def __len__(self) -> int:
        return len(self.widths)

    def width(self, record: int) -> int:
        """Return how many fields a record has."""
        return self.widths[record]

    def size(self, record: int) -> int:
        """Return how many characters a record has."""
        return len(self._texts[record])

    def fields(self, record: int) -> list[str]:
        """Return the fields of a record."""
        unusual = self._unusual.get(record)
        return self._texts[record].split(_PARTING) if unusual is None else unusual

    def ends_blank(self, record: int, width: int) -> bool:
        """Return whether a record has so many fields, and the last is empty."""
        return self.widths[record] == width and not self.fields(record)[-1]


def widest_line(content: bytes, delimiters: Iterable[str], count: int) -> int:
    """Return how many fields one of the first lines has at most, whatever their delimiter is."""
    signs = [sign.encode() for sign in delimiters]
    lines = (match.span() for match in islice(_LINE.finditer(content), count))
    return max((1 + sum(content.count(sign, *line) for sign in signs) for line in lines), default=1)


def too_wide() -> TooLargeError:
    """Return the error for a record of too many fields."""
    msg = f"A row of the CSV has more than {MAX_WIDTH} fields: is that its delimiter?"
    return TooLargeError(msg, code="too_many_values")


def _check_widths(widths: list[int]) -> None:
    if max(widths, default=0) > MAX_WIDTH:
        raise too_wide()
