"""The places of items and members in the bytes of a JSON document, found without parsing it, a block at a time."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.batch_predictions.row_files.json_values import MAX_VALUE
from app.datasets.errors import Code, DatasetError
from app.datasets.readers import BOM
from app.kit import strict_json
from app.kit.json_outline import item_edges

MAX_MEMBERS = 10_000  # of the object that a document is
MAX_KEY = 1000
MIN_BLOCK_BYTES, MAX_BLOCK_BYTES = 1 << 12, 1 << 18
_BLANKS = b" \t\r\n"
_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*')


class JsonBytes:
    """Bytes of a file by their places."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a row. Raises DatasetError for too many."""
        if stop - start > MAX_VALUE:
            message = f"a row at byte {start} has more than {MAX_VALUE} bytes; shorten it"
            raise DatasetError(Code.TOO_LARGE, message)
        return os.pread(self._descriptor, stop - start, start)

    def at(self, place: int) -> bytes:
        """Return one byte."""
        return os.pread(self._descriptor, 1, place)

    def first_byte(self, start: int) -> int | None:
        """Return the place of the first byte from `start` on that is no blank, nor of a byte order mark."""
        while text := os.pread(self._descriptor, MIN_BLOCK_BYTES, start):
            whole = text.removeprefix(BOM) if start == 0 else text
            if stripped := whole.lstrip(_BLANKS):
                return start + len(text) - len(stripped)
            start += len(text)
        return None

    def edges(self, start: int, block_bytes: int = MAX_BLOCK_BYTES) -> Iterator[Any]:
        """Yield the edges of the items of the list or object that begins at `start`, block by block."""
        places = range(start, self.size, block_bytes)
        blocks = (np.frombuffer(os.pread(self._descriptor, block_bytes, place), np.uint8) for place in places)
        return (start + edges for edges in item_edges(blocks))

    def items(self, start: int, first: int = 0, block_bytes: int = MAX_BLOCK_BYTES) -> Iterator[bytes | None]:
        """Yield the texts of the items of a list, or of the members of an object; None of those before `first`."""
        number, last = 0, -1
        for edges in self.edges(start, block_bytes):
            if last < 0:
                last = int(edges[0])
                continue
            if not len(edges):
                continue
            skipped = min(len(edges), max(0, first - number))
            for _ in range(skipped):
                yield None
            last = int(edges[skipped - 1]) if skipped else last
            yield from self._texts(last, edges[skipped:].tolist(), is_first=number + skipped == 0)
            number, last = number + len(edges), int(edges[-1])

    def _texts(self, last: int, edges: list[int], *, is_first: bool) -> Iterator[bytes]:
        """Yield what stands between the edge `last` and each of those behind it, read together where that is little."""
        begin, block = last + 1, b""
        if edges and edges[-1] - begin <= 2 * MAX_BLOCK_BYTES:
            block = self.read(begin, edges[-1])
        for edge in edges:
            text = block[last + 1 - begin : edge - begin] if block else self.read(last + 1, edge)
            if text.strip(_BLANKS) or not is_first or self.at(edge) == b",":  # else the list is empty
                yield text
            last, is_first = edge, False

    def end_of(self, start: int) -> int | None:
        """Return the place of the closing bracket of a list or object; None where it is missing."""
        last = start
        for edges in self.edges(start):
            last = int(edges[-1]) if len(edges) else last
        return last if self.at(last) in b"]}" else None

    def closes_at_end(self, start: int) -> bool:
        """Return whether nothing stands behind the list or object that begins at `start`."""
        end = self.end_of(start)
        return end is not None and self.first_byte(end + 1) is None

    def is_one_line(self, start: int) -> bool:
        """Return whether there is no line end in the bytes from `start` on, but for the last ones."""
        while text := os.pread(self._descriptor, MAX_BLOCK_BYTES, start):
            start += len(text)
            if b"\n" in text:
                return self.first_byte(start - len(text) + text.index(b"\n")) is None
        return True

    def members(self, top: int) -> dict[str, int]:
        """Return the places of the values of an object by their keys. Raises DatasetError."""
        members: dict[str, int] = {}
        last = -1
        for edges in self.edges(top):
            for edge in edges.tolist():
                if last >= 0:
                    self._add_member(members, last + 1, edge)
                last = edge
            if len(members) > MAX_MEMBERS:
                message = f"the document is an object of more than {MAX_MEMBERS} members; write a list of rows"
                raise DatasetError(Code.BAD_JSON, message)
        return members

    def _add_member(self, members: dict[str, int], start: int, stop: int) -> None:
        text = self.read(start, min(stop, start + MAX_KEY))
        match = _KEY.match(text)
        if match is None:
            if not members and not text.strip(_BLANKS):
                return  # an empty object
            message = f"not JSON: no key and value at byte {start}"
            raise DatasetError(Code.BAD_JSON, message)
        try:
            key = strict_json.loads(match[1])
        except strict_json.StrictJsonError as error:
            raise DatasetError(Code.BAD_JSON, f"a key at byte {start}: {error}") from None
        if key in members:
            raise DatasetError(Code.BAD_JSON, f"the key {key[:100]!r} stands twice in one object; keep one")
        members[key] = start + match.end()


@contextmanager
def opened(path: Path) -> Iterator[JsonBytes]:
    """Open a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield JsonBytes(descriptor)
    finally:
        os.close(descriptor)
