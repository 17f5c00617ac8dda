"""Arrays larger than memory are worked through in chunks of rows of bounded size."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames.texts import Texts
from app.kit.parts import Processes

CHUNK_BYTES = 32 << 20
SMALL_CHUNK_BYTES = 1 << 20  # fits the cache of a processor
_PART_BYTES = 16 << 20
_MIN_BYTES = 256 << 20  # of fewer, starting processes would cost more than they save
_TEXT_PART_BYTES = 2 << 20
_MIN_TEXT_BYTES = 16 << 20


def row_chunks(array: npt.NDArray[Any], max_bytes: int = CHUNK_BYTES) -> Iterator[slice]:
    """Yield the slices that cut the rows of `array` (N, ...), in order, into chunks of at most `max_bytes`.

    A chunk has one row at least, however large that is.
    """
    rows = max(1, max_bytes // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))


def work_on_texts(work: Callable[[Texts], npt.NDArray[Any]], texts: Texts, processes: Processes) -> npt.NDArray[Any]:
    """Return what `work` makes of N texts, (N, K), each text by itself; many are worked on in parts."""
    if not processes.are_worth(len(texts.content), _MIN_TEXT_BYTES):
        return work(texts)
    return np.concatenate(list(processes.map(work, texts.parts(_TEXT_PART_BYTES))))


def work_in_parts(
    work: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    rows: npt.NDArray[Any],
    processes: Processes,
    chosen: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[Any]:
    """Return what `work` makes of rows (N, ...), (N, K), each row by itself; many are worked on in parts.

    With `chosen` (n,), of the rows at these positions alone, (n, K). Parts hold whole small chunks, so that the same
    rows are summed up together whatever the number of processes.
    """
    row_bytes = max(1, rows[:1].nbytes)
    count = len(rows) if chosen is None else len(chosen)
    is_small = not processes.are_worth(count * row_bytes, _MIN_BYTES)
    if is_small and (chosen is None or not count):
        return work(rows[:count])
    small = max(1, SMALL_CHUNK_BYTES // row_bytes)
    size = small * max(1, _PART_BYTES // (small * row_bytes))
    pieces = (slice(start, start + size) for start in range(0, count, size))
    parts = (np.ascontiguousarray(rows[piece if chosen is None else chosen[piece]]) for piece in pieces)
    return np.concatenate(list((Processes() if is_small else processes).map(work, parts)))
