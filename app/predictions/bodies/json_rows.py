"""The rows of a large JSON body, parsed as they are asked for: a body of 32 MiB takes its own bytes and some rows.

The positions of the rows are known from the outline of the body; what is around them is parsed at once.
"""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from app.kit import strict_json
from app.kit.json_outline import MAX_DEPTH, Outline, full_outline, parsed_bytes
from app.ml.interfaces import Rows
from app.predictions.bodies import plain_json
from app.predictions.bodies.form import check_count, unreadable
from app.predictions.bodies.lazy_rows import MAX_BLOCK_BYTES, MIN_BYTES, LazyRows, without_labels
from app.security import StrictRequest

_KEY = b'"inputs"'


class JsonRows(LazyRows):
    """The items of the list `inputs` of a JSON body, from its bytes; `blocks` is the cheapest way to all of them."""

    def __init__(self, body: bytes, edges: NDArray[np.int64]) -> None:
        self._body = body
        self._edges = edges  # positions of what is before the first item, between them, and after the last (N + 1,)

    def __len__(self) -> int:
        return len(self._edges) - 1

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self._parsed(index, index + 1)[0]

    def blocks(self, max_rows: int) -> Iterator[tuple[int, Sequence[Any] | Rows]]:
        """Yield blocks of at most so many rows, each with the index of its first row.

        Raises:
            UnprocessableError: a row is no JSON.
        """
        start = 0
        while start < len(self):
            reach = int(np.searchsorted(self._edges, self._edges[start] + MAX_BLOCK_BYTES, side="right")) - 1
            stop = min(max(start + 1, reach), start + max_rows, len(self))
            yield start, self._parsed(start, stop)
            start = stop

    def widest(self) -> memoryview:
        """Return the bytes of the longest row, without a copy."""
        row = int(np.diff(self._edges).argmax())
        return memoryview(self._body)[int(self._edges[row]) + 1 : int(self._edges[row + 1])]

    def _parsed(self, start: int, stop: int) -> list[Any] | Rows:
        """Return some rows: numbers as an array where they are nothing else."""
        part = memoryview(self._body)[int(self._edges[start]) + 1 : int(self._edges[stop])]
        text = b"".join((b'{"inputs":[', part, b"]}"))
        numbers = plain_json.read(text)
        if isinstance(numbers, np.ndarray) and len(numbers) == stop - start:
            return numbers
        try:
            rows: list[Any] = strict_json.loads(text)["inputs"]
        except strict_json.StrictJsonError as error:
            if stop - start > 1:
                return [self._parsed(row, row + 1)[0] for row in range(start, stop)]  # one of them is at fault
            msg = f"row {start}: {error}"
            raise unreadable(msg, start) from None
        if not rows:
            msg = f"row {start}: not JSON: there is nothing between two commas"
            raise unreadable(msg, start)
        return [without_labels(row) for row in rows]


async def read(request: StrictRequest) -> Any:
    """Return the document of a JSON body; where it is large, the rows under `inputs` as `JsonRows`.

    Raises:
        RequestValidationError: it is no JSON.
        TooLargeError: a row, or what is around the rows, holds too many values.
        UnprocessableError: it has more rows than a request may have.
    """
    body = await request.body()
    if len(body) < MIN_BYTES:
        return await request.json()
    seen = await request.in_thread(full_outline, body)
    rows = _rows(body, seen) if seen.depth <= MAX_DEPTH else None
    if rows is None:
        return await request.json()
    rest = body[: seen.start + 1] + body[seen.end :]
    await request.reserve(await request.in_thread(parsed_bytes, rest))
    try:
        document = await request.in_thread(strict_json.loads, rest)
    except strict_json.StrictJsonError:
        return await request.json()  # it says where that is in the whole body
    if len(widest := rows.widest()) > MAX_BLOCK_BYTES:
        await request.reserve(await request.in_thread(parsed_bytes, widest))
    return {**document, "inputs": rows}


def _rows(body: bytes, seen: Outline) -> JsonRows | None:
    """Return the rows of a body; None where it has no list of them."""
    before = body[max(0, seen.start - 64) : max(0, seen.start)].rstrip(b" \t\r\n")
    if seen.end < 0 or not before.endswith(b":") or not before[:-1].rstrip(b" \t\r\n").endswith(_KEY):
        return None
    check_count(seen.items)
    if seen.items == 1 and not body[seen.start + 1 : seen.end].strip():
        return None
    return JsonRows(body, np.concatenate([[seen.start], *seen.separators, [seen.end]]))
