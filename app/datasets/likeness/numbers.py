"""Rows of numbers that agree in their leading digits.

A number is rounded up where the rest of its digits is .363 or more: with the usual .5 a number such as 1065 is on the
border, and its copy 1065.001 would be rounded to another one. Hardly any decimal number is at .363.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.digests import Digests, digest_rows, find_rows, group_ids
from app.datasets.likeness.pairs import Pairs
from app.ml.spec import ColumnSpec

CHUNK_BYTES = 4 << 20  # rounding takes ten times as much
ROUND_UP = 1 - 0.363
MAX_EXPONENT = 60  # of a float32 and some digits more
POWERS = 10.0 ** np.arange(-MAX_EXPONENT, MAX_EXPONENT + 1)


def sketch(inputs: npt.NDArray[Any], columns: Sequence[ColumnSpec], digits: int) -> Digests:
    """Return a digest of each row's rounded numbers, (N, 2); codes of categories are not rounded."""
    codes = [j for j, column in enumerate(columns) if column.type == "category"]
    sketches = [digest_rows(_round(inputs[rows], codes, digits), columns) for rows in row_chunks(inputs, CHUNK_BYTES)]
    return np.concatenate(sketches) if sketches else np.empty((0, 2), np.uint64)


def _round(rows: npt.NDArray[Any], codes: list[int], digits: int) -> npt.NDArray[Any]:
    """Round all numbers of rows (n, ..., C), except in the columns `codes`."""
    rounded = round_significant(rows, digits)
    rounded[..., codes] = rows[..., codes]
    return rounded


def round_significant(values: npt.NDArray[Any], digits: int) -> npt.NDArray[np.float32]:
    """Round each number, as float32 holds it, to `digits` significant digits, up from .363 on; 0, inf and NaN stay."""
    values = values.astype(np.float32)
    roundable = np.isfinite(values) & (values != 0)
    size = np.where(roundable, np.abs(values), 1).astype(np.float64)
    scale = POWERS[MAX_EXPONENT + digits - 1 - np.floor(np.log10(size.astype(np.float32))).astype(np.int64)]
    return np.where(roundable, np.copysign(np.floor(size * scale + ROUND_UP) / scale, values), values).astype(
        np.float32
    )


def near_pairs(sketches: Digests) -> Pairs:
    """Return pairs of each row with the first row of the same sketch, (P, 2)."""
    if not len(sketches):
        return np.empty((0, 2), dtype=np.int64)
    groups = group_ids(sketches)
    _, first = np.unique(groups, return_index=True)
    repeated = np.flatnonzero(first[groups] != np.arange(len(sketches)))
    pairs = np.stack([first[groups[repeated]], repeated], axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def matches(own: Digests, other: Digests) -> Pairs:
    """Return for each row of `own` (N, 2) the first of `other` (M, 2) with an equal sketch, as positions (P, 2)."""
    positions = find_rows(own, other)
    matched = np.flatnonzero(positions >= 0)
    return np.stack([matched, positions[matched]], axis=1)
