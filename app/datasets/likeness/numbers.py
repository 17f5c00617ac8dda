"""Rows of numbers that agree in their leading digits.

A number is rounded up where the rest of its digits is .363 or more: with the usual .5 a number such as 1065 lies on the
border, and its copy 1065.001 would be rounded to something else. So few decimal numbers lie at .363.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames.digests import Digests, digest_rows, find, number_rows, pieces
from app.datasets.likeness.pairs import Pairs
from app.ml.data.spec import ColumnSpec

PIECE_BYTES = 4 << 20  # rounding takes ten times as much
UP = 1 - 0.363
MIDDLE = 60
POWERS = 10.0 ** np.arange(-MIDDLE, MIDDLE + 1)  # those that numbers of 32 bits can ask for, and some more


def sketch(inputs: npt.NDArray[Any], columns: Sequence[ColumnSpec], digits: int) -> Digests:
    """Return a digest of each row's numbers, rounded; codes of categories stay as they are, (N, 2)."""
    kept = [j for j, column in enumerate(columns) if column.type == "category"]
    found = [digest_rows(_rounded(piece, kept, digits), columns) for piece in pieces(inputs, PIECE_BYTES)]
    return np.concatenate(found) if found else np.empty((0, 2), np.uint64)


def _rounded(piece: npt.NDArray[Any], kept: list[int], digits: int) -> npt.NDArray[Any]:
    rounded = round_significant(piece, digits)
    rounded[..., kept] = piece[..., kept]
    return rounded


def round_significant(values: npt.NDArray[Any], digits: int) -> npt.NDArray[np.float32]:
    """Round the size of each number to `digits` significant digits, up from .363; 0, inf and NaN stay."""
    plain = np.isfinite(values) & (values != 0)
    size = np.where(plain, np.abs(values), 1).astype(np.float64)
    scale = POWERS[MIDDLE + digits - 1 - np.floor(np.log10(size.astype(np.float32))).astype(np.int64)]
    return np.where(plain, np.copysign(np.floor(size * scale + UP) / scale, values), values).astype(np.float32)


def pairs(sketches: Digests) -> Pairs:
    """Pair each row with the first one of the same sketch."""
    if not len(sketches):
        return np.empty((0, 2), dtype=np.int64)
    numbers = number_rows(sketches)
    _, first = np.unique(numbers, return_index=True)
    places = np.arange(len(sketches))
    again = places[first[numbers] != places]
    found = np.stack([first[numbers[again]], again], axis=1)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def joined(mine: Digests, theirs: Digests) -> Pairs:
    """Pair each of `mine` with the first of `theirs` that has its sketch."""
    at = find(mine, theirs)
    places = np.flatnonzero(at >= 0)
    return np.stack([places, at[places]], axis=1)
