"""Digests of rows: 128 bits that are equal exactly where the inputs are equal, whatever file they come from.

A category counts by its name rather than by its code: a new version of a table that has a further category still
has the digests of its old rows.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.texts import Texts
from app.ml.spec import ColumnSpec

NAN_BITS = np.uint32(0x7FC00000)  # every NaN is hashed as this one
SERIES_DIMENSIONS = 3
Digests: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]


def digest_rows(inputs: npt.NDArray[Any] | Texts, columns: Sequence[ColumnSpec] = ()) -> Digests:
    """Return the first 128 bits of the SHA-256 of each row, (N, 2).

    -0.0 counts as 0.0, every NaN as the same, and steps of NaN at the end of a series not at all.
    """
    hashes = bytearray()
    if isinstance(inputs, Texts):
        for position in range(len(inputs)):
            hashes += hashlib.sha256(inputs.raw(position)).digest()[:16]
        return _to_words(bytes(hashes))
    category_bits = {j: _name_bits(column.categories) for j, column in enumerate(columns) if column.categories}
    for rows in row_chunks(inputs):
        chunk = np.ascontiguousarray(inputs[rows])
        row_bytes = _normalised_bytes(chunk, category_bits)
        is_series = chunk.dtype.kind == "f" and chunk.ndim == SERIES_DIMENSIONS
        ends = _series_ends(chunk) if is_series else None
        for i, row in enumerate(row_bytes):
            hashes += hashlib.sha256((row if ends is None else row[: ends[i]]).data).digest()[:16]
    return _to_words(bytes(hashes))


def _to_words(hashes: bytes) -> Digests:
    """Return 16 bytes per row as (N, 2)."""
    return np.frombuffer(hashes, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def group_ids(keys: Digests) -> Ints:
    """Number the distinct rows of `keys` (M, K) and return the number of each row, (M,): equal rows have equal ids."""
    order = np.lexsort(keys.T)
    changed = np.any(keys[order][1:] != keys[order][:-1], axis=1)
    ids = np.empty(len(keys), dtype=np.int64)
    ids[order] = np.concatenate([[0], np.cumsum(changed)])
    return ids


def find_rows(keys: Digests, among: Digests) -> Ints:
    """Return the position in `among` (M, 2) of each row of `keys` (N, 2), the first of equals; -1 = absent, (N,)."""
    if not len(among):
        return np.full(len(keys), -1, dtype=np.int64)
    # Digests are random, so the first of the two words is as good as a unique key; the whole row is compared below.
    order = np.argsort(among[:, 0], kind="stable")
    nearest = np.minimum(np.searchsorted(among[order, 0], keys[:, 0]), len(among) - 1)
    positions = order[nearest]
    return np.where((among[positions] == keys).all(axis=1), positions, -1).astype(np.int64)


def _normalised_bytes(
    chunk: npt.NDArray[Any], category_bits: dict[int, npt.NDArray[np.uint32]]
) -> npt.NDArray[np.uint8]:
    """Return the bytes of each row, (n, bytes), with one form of zero, of NaN and of each category."""
    if chunk.dtype.kind != "f":
        return chunk.reshape(len(chunk), -1).view(np.uint8)
    missing = np.isnan(chunk)
    values = np.ascontiguousarray(chunk + chunk.dtype.type(0))  # -0.0 + 0.0 is 0.0
    if chunk.dtype != np.float32:
        values[missing] = np.nan
        return values.reshape(len(chunk), -1).view(np.uint8)
    bits = values.view(np.uint32)
    bits[missing] = NAN_BITS
    for column, names in category_bits.items():
        present = ~missing[:, column]
        bits[present, column] = names[chunk[present, column].astype(np.int64)]
    return bits.reshape(len(chunk), -1).view(np.uint8)


def _name_bits(names: tuple[str, ...]) -> npt.NDArray[np.uint32]:
    """Return 32 bits of the SHA-256 of each name, (names,)."""
    return np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") for name in names], np.uint32)


def _series_ends(chunk: npt.NDArray[Any]) -> Ints:
    """Return the bytes of each series (n, T, C) up to its last step that has a value, (n,)."""
    observed = ~np.isnan(chunk).all(axis=2)
    steps = chunk.shape[1] - np.argmax(observed[:, ::-1], axis=1)
    ends: Ints = np.where(observed.any(axis=1), steps, 0) * chunk.shape[2] * chunk.itemsize
    return ends
