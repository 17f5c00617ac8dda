"""Cuts the inputs of a large dataset into shards: files of bounded size, which are stored and fetched one by one.

A shard has the same files as inputs in one piece, with its number in their names. Its rows are of one split, in the
order of the dataset: who trains fetches no rows of the test split. Labels, splits and fingerprints stay in one piece.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from app.datasets.frames import Bytes, Ints
from app.ml.data.stored_rows import (
    COLUMN_OFFSETS,
    COLUMN_TEXTS,
    INPUT_FILES,
    INPUTS,
    OFFSETS,
    TEXT,
    InputRows,
    Rows,
    TableRows,
    TextRows,
    open_rows,
    shard_file,
)

_CHUNK_BYTES = 32 << 20


def plan_shards(folder: Path, split: Bytes, max_bytes: int) -> tuple[int, ...]:
    """Return the rows of each shard, at most `max_bytes` of the inputs in a canonical folder, or one row, each.

    Empty where all inputs have no more than that.
    """
    sizes = _row_bytes(open_rows(folder))
    if int(sizes.sum()) <= max_bytes:
        return ()
    shards = []
    for code in np.unique(split):
        ends = np.cumsum(sizes[split == code])
        first, before = 0, 0
        while first < len(ends):
            last = max(first + 1, int(np.searchsorted(ends, before + max_bytes, side="right")))
            shards.append(last - first)
            first, before = last, int(ends[last - 1])
    return tuple(shards)


def cut_into_shards(folder: Path, split: Bytes, shards: Sequence[int]) -> list[str]:
    """Write the inputs in a canonical folder as shards of so many rows instead; return the names of their files."""
    rows, order = open_rows(folder), np.argsort(split, kind="stable")
    names = []
    for shard, (start, end) in enumerate(pairwise(np.cumsum([0, *shards]).tolist())):
        names += _write_shard(rows, order[start:end], folder, shard)
    for name in INPUT_FILES:
        (folder / name).unlink(missing_ok=True)
    return names


def _row_bytes(rows: InputRows) -> Ints:
    """Return the bytes of each row, (N,)."""
    if isinstance(rows, TextRows):
        return np.diff(rows.offsets)
    if isinstance(rows, TableRows):
        return sum((np.diff(text.offsets) for text in rows.texts), start=_row_bytes(rows.values))
    return np.full(len(rows), rows[:1].nbytes, dtype=np.int64)


def _write_shard(rows: InputRows, positions: Ints, folder: Path, shard: int) -> list[str]:
    """Write the rows at `positions` (n,) as a shard; return the names of its files."""
    if isinstance(rows, TextRows):
        return _write_texts([rows], positions, folder, (TEXT, OFFSETS), shard)
    if isinstance(rows, TableRows):
        texts = _write_texts(rows.texts, positions, folder, (COLUMN_TEXTS, COLUMN_OFFSETS), shard)
        return [*_write_shard(rows.values, positions, folder, shard), *texts]
    name = shard_file(INPUTS, shard)
    written = _create(folder / name, rows.dtype, (len(positions), *rows.shape[1:]))
    step = max(1, _CHUNK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(positions), step):
        written[start : start + step] = rows[positions[start : start + step]]
    return [name]


def _write_texts(
    texts: Sequence[TextRows], positions: Ints, folder: Path, names: tuple[str, str], shard: int
) -> list[str]:
    """Write the rows at `positions` (n,) of columns of texts, column by column, and where each text begins."""
    content_name, offsets_name = (shard_file(name, shard) for name in names)
    lengths = np.concatenate([np.diff(text.offsets)[positions] for text in texts])
    offsets = np.cumsum([0, *lengths.tolist()])
    content = _create(folder / content_name, np.dtype(np.uint8), (int(offsets[-1]),))
    sources = ((text, position) for text in texts for position in positions.tolist())
    for (text, position), (start, end) in zip(sources, pairwise(offsets.tolist()), strict=True):
        content[start:end] = text.content[text.offsets[position] : text.offsets[position + 1]]
    np.save(folder / offsets_name, offsets, allow_pickle=False)
    return [content_name, offsets_name]


def _create(path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Rows:
    array: Rows = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return array
