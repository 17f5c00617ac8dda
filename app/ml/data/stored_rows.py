"""Rows of a prepared dataset as its files hold them, mapped: arrays, texts, and tables with columns of texts. No torch.

Where a dataset's inputs are in shards, each shard has the same files with its number in their names, and their rows are
read as one: `ShardedRows`.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.ml.data.words import cells_of

Rows = NDArray[Any]
INPUTS, TEXT, OFFSETS = "inputs.npy", "text.npy", "offsets.npy"
COLUMN_TEXTS, COLUMN_OFFSETS = "column_texts.npy", "column_offsets.npy"
INPUT_FILES = (INPUTS, TEXT, OFFSETS, COLUMN_TEXTS, COLUMN_OFFSETS)

WINDOW_SHARDS = 8  # shards that are read together: rows are shuffled among those of a window


def shard_file(name: str, shard: int | None) -> str:
    """Return what a file of inputs is called in a shard: inputs-00003.npy; None: the dataset has no shards."""
    return name if shard is None else f"{name.removesuffix('.npy')}-{shard:05}.npy"


@dataclass(frozen=True, slots=True)
class TextRows:
    """Texts in one mapped file: UTF-8 bytes (total,) and where each begins, offsets (N + 1,)."""

    content: Rows
    offsets: Rows

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, chosen: Rows | slice) -> Rows:
        """Texts by position, an object array (n,) of str."""
        positions = np.arange(len(self))[chosen]
        texts = np.empty(len(positions), dtype=object)
        for index, position in enumerate(positions):
            start, end = int(self.offsets[position]), int(self.offsets[position + 1])
            texts[index] = self.content[start:end].tobytes().decode("utf-8")
        return texts


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of a table with columns of texts: float64 (N, D), behind them the codes of each text's words, 128 a text."""

    values: Rows
    texts: tuple[TextRows, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, chosen: Rows | slice) -> Rows:
        """Rows by position, (n, D + 128 T)."""
        return np.concatenate([self.values[chosen], *(cells_of(text[chosen]) for text in self.texts)], axis=1)


InputRows: TypeAlias = Rows | TextRows | TableRows


def open_rows(folder: Path, shard: int | None = None) -> InputRows:
    """Map the inputs in a canonical folder, or those of one shard of them."""
    files = {name: folder / shard_file(name, shard) for name in INPUT_FILES}
    if files[TEXT].exists():
        content = np.load(files[TEXT], mmap_mode="r", allow_pickle=False)
        return TextRows(content, np.load(files[OFFSETS], allow_pickle=False))
    inputs: Rows = np.load(files[INPUTS], mmap_mode="r", allow_pickle=False)
    if files[COLUMN_TEXTS].exists():
        return TableRows(inputs, open_column_texts(folder, len(inputs), shard))
    return inputs


def open_column_texts(folder: Path, rows: int, shard: int | None = None) -> tuple[TextRows, ...]:
    """Map the columns of texts of a table of so many rows, one after the other."""
    files = (folder / shard_file(name, shard) for name in (COLUMN_TEXTS, COLUMN_OFFSETS))
    content, offsets = (np.load(file, mmap_mode="r", allow_pickle=False) for file in files)
    starts = range(0, len(offsets) - 1, rows)
    return tuple(TextRows(content, offsets[start : start + rows + 1]) for start in starts)


class ShardFiles(Protocol):
    """Where the files of shards come from."""

    def opened(self, shard: int) -> AbstractContextManager[Path]:
        """Return a folder in which the files of a shard are while the context lasts."""
        ...

    def expect(self, windows: Sequence[Sequence[int]]) -> None:
        """Say which shards will be read from here on, window after window."""
        ...


@dataclass(frozen=True, slots=True)
class FolderShards:
    """The files of all shards, in one folder."""

    folder: Path

    def opened(self, shard: int) -> AbstractContextManager[Path]:
        """Return the folder."""
        return nullcontext(self.folder)

    def expect(self, windows: Sequence[Sequence[int]]) -> None:
        """Do nothing: all files are here."""


@dataclass(frozen=True, slots=True)
class ShardPlaces:
    """In which shard each row lies: `places` (N,) among the rows of all shards, which begin at `starts` (S + 1,).

    Each shard holds rows of one split, in the order of the dataset: a split is read without the others' files.
    """

    places: Rows
    starts: Rows

    @classmethod
    def of(cls, split: Rows, shards: Sequence[int]) -> "ShardPlaces":
        """Compute the places from the splits (N,) and the number of rows in each shard."""
        places = np.empty(len(split), dtype=np.int64)
        places[np.argsort(split, kind="stable")] = np.arange(len(split))
        return cls(places, np.cumsum([0, *shards]))

    def shard_of(self, positions: Rows) -> Rows:
        """Return the shards of rows by position, (n,)."""
        return np.searchsorted(self.starts, self.places[positions], side="right") - 1

    def pieces(self, positions: Rows) -> Iterator[tuple[int, Rows, Rows]]:
        """Yield each shard that has some of the rows, which of (n,) these are, and where they lie in the shard.

        Shards come in the order in which the rows need them first, so that those that were read last are read last.
        """
        shards = self.shard_of(positions)
        numbers, first = np.unique(shards, return_index=True)
        for shard in numbers[np.argsort(first)].tolist():
            chosen = np.flatnonzero(shards == shard)
            yield shard, chosen, self.places[positions[chosen]] - self.starts[shard]


@dataclass(frozen=True, slots=True)
class ShardedRows:
    """The rows (N, ...) of all shards, by their positions in the dataset; files are mapped while rows are read."""

    places: ShardPlaces
    files: ShardFiles

    def __len__(self) -> int:
        return len(self.places.places)

    def __getitem__(self, chosen: Rows | slice) -> Rows:
        """Rows by position, as stored (n, ...)."""
        positions = np.arange(len(self))[chosen]
        result: Rows | None = None
        for shard, indices, within in self.places.pieces(positions):
            with self.files.opened(shard) as folder:
                rows = open_rows(folder, shard)[within]
            if result is None:
                result = np.empty((len(positions), *rows.shape[1:]), rows.dtype)
            result[indices] = rows
        if result is None:  # no rows, of the right shape
            with self.files.opened(0) as folder:
                return open_rows(folder, 0)[:0]
        return result


def open_sharded(folder: Path, split: Rows, shards: Sequence[int], files: ShardFiles | None = None) -> ShardedRows:
    """Open inputs in shards of so many rows by the splits (N,) of the rows; None: their files are in the folder."""
    return ShardedRows(ShardPlaces.of(split, shards), files or FolderShards(folder))
