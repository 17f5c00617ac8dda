"""Arrays larger than memory are worked through in chunks of rows of bounded size."""

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

CHUNK_BYTES = 32 << 20


def row_chunks(array: npt.NDArray[Any], max_bytes: int = CHUNK_BYTES) -> Iterator[slice]:
    """Yield the slices that cut the rows of `array` (N, ...), in order, into chunks of at most `max_bytes`.

    A chunk has one row at least, however large that is.
    """
    rows = max(1, max_bytes // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))
