"""Digests of rows: 128 bits that are equal exactly where the inputs are equal, whatever file they come from.

A category counts by its name rather than by its code: a new version of a table that has a further category still
has the digests of its old rows. Rows of numbers that float32 holds exactly have the digests that earlier releases gave
them, which knew float32 alone; those of other rows are `rounded` ones there.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.texts import Texts
from app.ml.spec import ColumnSpec, TargetSpec

NAN_BITS = np.uint32(0x7FC00000)  # every NaN is hashed as this one, in float64 with as many zeros behind it
SERIES_DIMENSIONS = 3
FLOAT64_MARK = b"float64"  # before the bytes of a row in float64, which could be those of a series in float32
Digests: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]


def digest_rows(
    inputs: npt.NDArray[Any] | Texts, columns: Sequence[ColumnSpec] = (), *, rounded: bool = False
) -> Digests:
    """Return the first 128 bits of the SHA-256 of each row, (N, 2).

    -0.0 counts as 0.0, every NaN as the same, and steps of NaN at the end of a series not at all. With `rounded`,
    numbers count as float32 rounds them.
    """
    hashes = bytearray()
    if isinstance(inputs, Texts):
        for position in range(len(inputs)):
            hashes += hashlib.sha256(inputs.raw(position)).digest()[:16]
        return to_words(bytes(hashes))
    names = {j: _NameBits.of(column.categories) for j, column in enumerate(columns) if column.categories}
    for rows in row_chunks(inputs):
        chunk = np.ascontiguousarray(inputs[rows])
        for row in _rows_as_bytes(chunk, names, rounded=rounded):
            hashes += hashlib.sha256(row).digest()[:16]
    return to_words(bytes(hashes))


def to_words(hashes: bytes) -> Digests:
    """Return 16 bytes per row as (N, 2)."""
    return np.frombuffer(hashes, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def group_ids(keys: Digests) -> Ints:
    """Number the distinct rows of `keys` (M, K) and return the number of each row, (M,): equal rows have equal ids."""
    order = np.lexsort(keys.T)
    changed = np.any(keys[order][1:] != keys[order][:-1], axis=1)
    ids = np.empty(len(keys), dtype=np.int64)
    ids[order] = np.concatenate([[0], np.cumsum(changed)])
    return ids


def digest_labels(targets: npt.NDArray[Any], specs: Sequence[TargetSpec]) -> Digests:
    """Return the digests of targets (N, T), (N, 2); a class counts by its name."""
    return digest_rows(targets, [ColumnSpec(name=spec.name, type=spec.type, categories=spec.classes) for spec in specs])


def occurrences(ids: Ints) -> Ints:
    """Return how many rows of the same id came before each row, (N,)."""
    order = np.argsort(ids, kind="stable")
    sizes = np.bincount(ids)
    places = np.empty(len(ids), dtype=np.int64)
    places[order] = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places


def find_each(keys: Digests, among: Digests) -> Ints:
    """Return the position in `among` (M, K) of each row of `keys` (N, K), of equals the first for the first, (N,).

    -1 = absent, or there are fewer such rows.
    """
    ids = group_ids(np.concatenate([keys, among]))
    own, other = ids[: len(keys)], ids[len(keys) :]
    places = [np.stack([of, occurrences(of)], axis=1) for of in (own, other)]
    pairs, inverse = np.unique(np.concatenate(places), axis=0, return_inverse=True)
    positions = np.full(len(pairs), -1, dtype=np.int64)
    positions[inverse.reshape(-1)[len(keys) :]] = np.arange(len(among))
    return positions[inverse.reshape(-1)[: len(keys)]]


def find_rows(keys: Digests, among: Digests) -> Ints:
    """Return the position in `among` (M, 2) of each row of `keys` (N, 2), the first of equals; -1 = absent, (N,)."""
    if not len(among):
        return np.full(len(keys), -1, dtype=np.int64)
    # Digests are random, so the first of the two words is as good as a unique key; the whole row is compared below.
    order = np.argsort(among[:, 0], kind="stable")
    nearest = np.minimum(np.searchsorted(among[order, 0], keys[:, 0]), len(among) - 1)
    positions = order[nearest]
    return np.where((among[positions] == keys).all(axis=1), positions, -1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _NameBits:
    """Bits of the SHA-256 of each category's name: 32 and 64 of them, (names,), and whether the 32 are its alone."""

    short: npt.NDArray[np.uint32]
    long: npt.NDArray[np.uint64]
    unique: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, names: Sequence[str]) -> "_NameBits":
        long = np.array(
            [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in names], np.uint64
        )
        short = (long >> np.uint64(32)).astype(np.uint32)
        _, inverse, counts = np.unique(short, return_inverse=True, return_counts=True)
        return cls(short, long, counts[inverse] == 1)


def _rows_as_bytes(chunk: npt.NDArray[Any], names: dict[int, _NameBits], *, rounded: bool) -> Iterator[Any]:
    """Yield the bytes that stand for each row of a chunk (n, ...), one form of zero, of NaN and of each category."""
    if chunk.dtype.kind != "f":
        yield from chunk.reshape(len(chunk), -1).view(np.uint8)
        return
    ends = _series_ends(chunk) if chunk.ndim == SERIES_DIMENSIONS else np.full(len(chunk), chunk[:1].size)
    with np.errstate(over="ignore"):  # beyond float32 is infinity, which is not equal
        short = chunk.astype(np.float32)
    exact = np.full(len(chunk), fill_value=True)
    if chunk.dtype == np.float64 and not rounded:
        exact = ((short == chunk) | np.isnan(chunk)).reshape(len(chunk), -1).all(axis=1)
        for column, bits in names.items():
            codes = np.nan_to_num(chunk[:, column]).astype(np.int64)
            exact &= bits.unique[codes] | np.isnan(chunk[:, column])
    as_short = _bits(short, {column: bits.short for column, bits in names.items()})
    as_long = as_short if exact.all() else _bits(chunk, {column: bits.long for column, bits in names.items()})
    for i, (is_exact, end) in enumerate(zip(exact.tolist(), ends.tolist(), strict=True)):
        yield as_short[i, :end].data if is_exact else FLOAT64_MARK + as_long[i, :end].tobytes()


def _bits(chunk: npt.NDArray[Any], names: dict[int, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return floats (n, ...) as unsigned integers of their size, (n, values); codes become bits of their `names`."""
    missing = np.isnan(chunk)
    values = np.ascontiguousarray(chunk + chunk.dtype.type(0))  # -0.0 + 0.0 is 0.0
    bits = values.view(np.uint32 if chunk.dtype == np.float32 else np.uint64)
    bits[missing] = NAN_BITS if chunk.dtype == np.float32 else np.uint64(NAN_BITS) << np.uint64(32)
    for column, of_names in names.items():
        present = ~missing[:, column]
        bits[present, column] = of_names[chunk[present, column].astype(np.int64)]
    return bits.reshape(len(chunk), -1)


def _series_ends(chunk: npt.NDArray[Any]) -> Ints:
    """Return the number of values of each series (n, T, C) up to its last step that has one, (n,)."""
    observed = ~np.isnan(chunk).all(axis=2)
    steps = chunk.shape[1] - np.argmax(observed[:, ::-1], axis=1)
    ends: Ints = np.where(observed.any(axis=1), steps, 0) * chunk.shape[2]
    return ends
