"""Rows by content: 128 bits that are equal exactly where the inputs are, in whatever file they come.

A category counts by its name rather than by its code: a new version of a table that has a further category still
knows its old rows.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.texts import Texts
from app.ml.data.spec import ColumnSpec

CHUNK_BYTES = 32 << 20
NO_NUMBER = np.uint32(0x7FC00000)  # the bits of the one NaN that stands for all
SERIES_DIMENSIONS = 3
Digests: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]


def digest_rows(inputs: npt.NDArray[Any] | Texts, columns: Sequence[ColumnSpec] = ()) -> Digests:
    """Return the first 128 bits of the SHA-256 of each row, (N, 2).

    -0.0 counts as 0.0, every NaN as the same, and steps of NaN at the end of a series not at all.
    """
    if isinstance(inputs, Texts):
        return inputs.digests()
    found = bytearray()
    names = {j: _name_bits(column.categories) for j, column in enumerate(columns) if column.categories}
    for piece in pieces(inputs):
        rows = _bits(piece, names)
        ends = _ends(piece) if piece.dtype.kind == "f" and piece.ndim == SERIES_DIMENSIONS else None
        for place, row in enumerate(rows):
            data = row if ends is None else row[: ends[place]]
            found += hashlib.sha256(data.data).digest()[:16]
    return from_bytes(bytes(found))


def from_bytes(found: bytes) -> Digests:
    """Return 16 bytes a row as (N, 2)."""
    return np.frombuffer(found, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def pieces(inputs: npt.NDArray[Any], size: int = CHUNK_BYTES) -> Iterator[npt.NDArray[Any]]:
    """Cut rows into pieces of bounded size, in order."""
    step = max(1, size // max(1, inputs[:1].nbytes))
    for start in range(0, len(inputs), step):
        yield np.ascontiguousarray(inputs[start : start + step])


def number_rows(keys: Digests) -> Ints:
    """Number the rows of `keys` (M, K) such that equal rows have equal numbers, (M,)."""
    order = np.lexsort(keys.T)
    changed = np.any(keys[order][1:] != keys[order][:-1], axis=1)
    numbers = np.empty(len(keys), dtype=np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(changed)])
    return numbers


def find(keys: Digests, among: Digests) -> Ints:
    """Return where in `among` (M, 2) each of `keys` (N, 2) is, the first of equal ones; -1 = nowhere, (N,)."""
    if not len(among):
        return np.full(len(keys), -1, dtype=np.int64)
    order = np.argsort(among[:, 0], kind="stable")
    at = np.minimum(np.searchsorted(among[order, 0], keys[:, 0]), len(among) - 1)
    places = order[at]
    return np.where((among[places] == keys).all(axis=1), places, -1).astype(np.int64)


def _bits(piece: npt.NDArray[Any], names: dict[int, npt.NDArray[np.uint32]]) -> npt.NDArray[np.uint8]:
    """Return the bytes of each row, (n, bytes)."""
    if piece.dtype.kind != "f":
        return piece.reshape(len(piece), -1).view(np.uint8)
    nothing = np.isnan(piece)
    settled = np.ascontiguousarray(piece + piece.dtype.type(0))
    if piece.dtype != np.float32:
        settled[nothing] = np.nan
        return settled.reshape(len(piece), -1).view(np.uint8)
    bits = settled.view(np.uint32)
    bits[nothing] = NO_NUMBER
    for column, meaning in names.items():
        known = ~nothing[:, column]
        bits[known, column] = meaning[piece[known, column].astype(np.int64)]
    return bits.reshape(len(piece), -1).view(np.uint8)


def _name_bits(names: tuple[str, ...]) -> npt.NDArray[np.uint32]:
    return np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") for name in names], np.uint32)


def _ends(piece: npt.NDArray[Any]) -> Ints:
    """Return the bytes of each series (n, T, C) up to its last step that holds a number, (n,)."""
    holds = ~np.isnan(piece).all(axis=2)
    steps = piece.shape[1] - np.argmax(holds[:, ::-1], axis=1)
    ends: Ints = np.where(holds.any(axis=1), steps, 0) * piece.shape[2] * piece.itemsize
    return ends
