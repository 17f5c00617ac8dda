"""Rows in blocks of bounded size."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_ROWS, _BLOCK_BYTES = 1024, 64 << 20
_READ_BYTES = 32 << 20


def each_block(rows: int, block: int, least: int = 1) -> Iterator[slice]:
    """Cut `rows` into slices of at most `block`; a last one of fewer than `least` rows joins the one before."""
    starts = [start for start in range(0, rows, block) if start == 0 or rows - start >= least]
    return (slice(start, end) for start, end in zip(starts, [*starts[1:], rows], strict=False))


def rows_per_block(shape: tuple[int, ...]) -> int:
    """How many encoded rows of `shape` go through a network at once: 1 to 1,024, and near 64 MiB of float32."""
    return max(1, min(_MAX_ROWS, _BLOCK_BYTES // (4 * math.prod(shape))))


def rows_per_read(values: int) -> int:
    """How many stored rows of so many values are looked at together: near 32 MiB of float64."""
    return max(1, _READ_BYTES // (8 * values))


def as_rows(values: Sequence[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Stack decoded rows (N, ...)."""
    return np.stack([np.asarray(value, dtype=dtype) for value in values])
