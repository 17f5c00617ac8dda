"""Answers as they are sent: written block by block, in memory that is reserved for them like that of bodies.

How much an answer takes is known from its first block, before the others are computed. Memory is given back when the
request ends, and what was sent before that.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
from anyio import from_thread
from fastapi import Request
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from app.ml.spec import WarningItem
from app.shares.admission import Slot

Reserve = Callable[[int], None]
Chunk = bytes | memoryview
_SMALL_BYTES = 1 << 16  # of an answer that is sent in one piece, and whose memory is not counted
_PIECE_BYTES = 1 << 18
_MARGIN = 1.1  # rows of an answer are not equally long


def reserving(request: Request) -> Reserve:
    """Return what reserves memory for the answer to a request; for the thread of its endpoint.

    It raises TooLargeError for more than a project may hold, and UnavailableError where it is not free within seconds.
    """
    slot: Slot = request.state.slot

    def reserve(count: int) -> None:
        if not slot.reserve_now(count):
            from_thread.run(slot.reserve_answer, count)

    return reserve


class _Reserved:
    """The memory of an answer to N rows, of which more and more are known."""

    def __init__(self, rows: int, reserve: Reserve) -> None:
        self._rows, self._reserve = rows, reserve
        self._done = self._bytes = self._reserved = 0

    def add(self, rows: int, count: int) -> None:
        """Reserve what the answer will take, now that so many more rows take so many bytes."""
        self._done += rows
        self._bytes += count
        expected = int(_MARGIN * self._bytes / self._done * self._rows) if self._done < self._rows else self._bytes
        if expected > max(self._reserved, _SMALL_BYTES):
            self._reserve(expected - self._reserved)
            self._reserved = expected


class JsonItems:
    """A list with an item for each of N rows, as JSON."""

    def __init__(self, rows: int, reserve: Reserve) -> None:
        self.pieces: list[bytes] = []
        self._reserved = _Reserved(rows, reserve)

    def add(self, items: Sequence[Any]) -> None:
        """Write the next items. Raises TooLargeError, UnavailableError: there is no memory for the whole."""
        text = to_json(items)
        self.pieces.append((b"," if self.pieces else b"") + text[1:-1])
        self._reserved.add(len(items), len(text))


class ArrayItems:
    """An array with an item for each of N rows."""

    def __init__(self, rows: int, reserve: Reserve) -> None:
        self._rows, self._done = rows, 0
        self._reserved = _Reserved(rows, reserve)
        self._array: NDArray[Any] | None = None

    def add(self, items: NDArray[Any]) -> None:
        """Add the next items (n, ...); raises as that of JSON."""
        self._reserved.add(len(items), items.nbytes)
        if self._array is None:
            self._array = np.empty((self._rows, *items.shape[1:]), items.dtype)
        self._array[self._done : self._done + len(items)] = items
        self._done += len(items)

    @property
    def array(self) -> NDArray[Any]:
        """All items (N, ...)."""
        assert self._array is not None
        return self._array


def json_pieces(model: BaseModel, name: str, items: JsonItems, warnings: Sequence[WarningItem]) -> list[Chunk]:
    """Return `{"model": ..., name: [items], "warnings": [...]}` in pieces."""
    begin = b'{"model":%b,"%b":[' % (to_json(model), name.encode())
    return [begin, *items.pieces, b'],"warnings":%b}' % to_json(warnings)]


def pieces_response(pieces: list[Chunk], media_type: str = "application/json", **headers: str) -> Response:
    """Return an answer in pieces, each of which is let go of once it is sent; the list is emptied."""
    size = sum(map(len, pieces))
    if size <= _SMALL_BYTES:
        return Response(b"".join(pieces), 200, headers, media_type)
    return StreamingResponse(_sent(pieces), 200, {**headers, "content-length": str(size)}, media_type)


def array_pieces(array: NDArray[Any]) -> list[Chunk]:
    """Return the bytes of an array in C order as pieces of one buffer."""
    view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return [view[start : start + _PIECE_BYTES] for start in range(0, len(view), _PIECE_BYTES)]


async def _sent(pieces: list[Chunk]) -> AsyncIterator[bytes]:
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        for start in range(0, len(piece), _PIECE_BYTES):  # more would be copied by the transport at once
            yield bytes(piece[start : start + _PIECE_BYTES])
