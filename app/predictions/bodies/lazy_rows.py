"""Rows of a body that are parsed as they are asked for: the body takes its own bytes and some rows."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, overload

from app.ml.interfaces import Rows

MIN_BYTES = 1 << 18  # of bodies that are read so: smaller ones are parsed as a whole
MAX_BLOCK_BYTES = 1 << 17  # parsed at once, for a few milliseconds, unless one row is larger
_SHOWN_ROW = {"row", "split", "input", "targets"}


class LazyRows(Sequence[Any]):
    """N rows of a body; `blocks` is the cheapest way to all of them, and no block is kept."""

    @abstractmethod
    def blocks(self, max_rows: int) -> Iterator[tuple[int, Sequence[Any] | Rows]]:
        """Yield blocks of at most so many rows, each with the index of its first row.

        Raises:
            UnprocessableError: a row cannot be read.
        """

    def __iter__(self) -> Iterator[Any]:
        return (row for _, block in self.blocks(len(self)) for row in block)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return rows; all before them are parsed, too, unless a form knows better."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            assert step > 0  # nothing reads backwards
            return list(islice(self, start, stop, step))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return next(islice(self, index % len(self), None))


class JoinedRows(LazyRows):
    """The rows of several files, one behind the other."""

    def __init__(self, files: Sequence[Sequence[Any] | Rows]) -> None:
        self._files = files

    def __len__(self) -> int:
        return sum(map(len, self._files))

    def blocks(self, max_rows: int) -> Iterator[tuple[int, Sequence[Any] | Rows]]:
        """Yield blocks, each of one file."""
        for first, rows in zip(accumulate(map(len, self._files), initial=0), self._files, strict=False):
            if isinstance(rows, LazyRows):
                yield from ((first + start, block) for start, block in rows.blocks(max_rows))
            else:
                yield from ((first + start, rows[start : start + max_rows]) for start in range(0, len(rows), max_rows))


def sized_blocks(sizes: Sequence[int], max_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each block, and the one behind its last: bounded rows, and bytes by the sizes of rows."""
    start, size = 0, 0
    for row, of_row in enumerate(sizes):
        if row > start and (row - start >= max_rows or size + of_row > MAX_BLOCK_BYTES):
            yield start, row
            start, size = row, 0
        size += of_row
    if start < len(sizes):
        yield start, len(sizes)


def without_labels(row: Any) -> Any:
    """Return the input of a row as `GET /v1/datasets/{id}/rows` shows it, and any other row as it is."""
    return row["input"] if isinstance(row, dict) and set(row) == _SHOWN_ROW else row
