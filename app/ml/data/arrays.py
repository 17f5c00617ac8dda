"""A prepared dataset in memory: stored rows, their labels, and encoded tensors of a split."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from app.ml.data.chunks import each_block, rows_per_block
from app.ml.data.stored_rows import (
    WINDOW_SHARDS,
    InputRows,
    ShardedRows,
    ShardFiles,
    TextRows,
    open_rows,
    open_sharded,
)
from app.ml.interfaces import Batch, Encoding, Modality, Rows, Shape, StoredRows
from app.ml.spec import SPLITS, DataSpec, Split

_MAX_BYTES_TO_FIT = 64 << 20
MAX_BYTES_IN_MEMORY = 1 << 30  # of all splits' encoded rows; above it every batch is encoded from the mapped file


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the stored rows, at positions (n,), read from the file when they are indexed."""

    rows: InputRows | ShardedRows
    positions: Rows

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: slice) -> Rows:
        """Rows as stored (m, ...)."""
        return self.rows[self.positions[chosen]]


class RowSource(Protocol):
    """Encoded rows to draw batches from."""

    def __len__(self) -> int: ...

    @property
    def volume(self) -> Shape:
        """Shape that a row takes up inside a network."""
        ...

    def take(self, indices: Tensor | None) -> Tensor:
        """Rows by index (B,), or all of them in order, (B, *shape)."""
        ...


@dataclass(frozen=True, slots=True)
class InMemory:
    """Encoded once: (N, *shape) on the training device."""

    values: Tensor
    vocabulary: int | None = None  # of texts

    def __len__(self) -> int:
        return len(self.values)

    @property
    def volume(self) -> Shape:
        """Shape that a row takes up inside a network."""
        return Encoding(shape=tuple(self.values.shape[1:]), vocabulary=self.vocabulary).volume

    def take(self, indices: Tensor | None) -> Tensor:
        """Index on the device; all rows cost nothing."""
        return self.values if indices is None else self.values.index_select(0, indices.to(self.values.device))


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Encoded anew for every batch, for splits that do not fit."""

    data: "ArrayData"
    positions: Rows  # (n,) of this split's rows
    modality: Modality
    device: torch.device

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def volume(self) -> Shape:
        """Shape that a row takes up inside a network."""
        return self.modality.encoding.volume

    def take(self, indices: Tensor | None) -> Tensor:
        """Read, encode and move the rows."""
        positions = self.positions if indices is None else self.positions[indices.numpy()]
        return self.data.encoded(positions, self.modality).to(self.device)


@dataclass(frozen=True, slots=True)
class ExampleShards:
    """The shards that a split's rows are read from: their numbers (S), and the indices of the rows in each, (n,)."""

    numbers: tuple[int, ...]
    rows: tuple[Tensor, ...]
    files: ShardFiles

    @classmethod
    def of(cls, inputs: ShardedRows, positions: Rows) -> "ExampleShards":
        """Group the rows at positions (N,) by their shard."""
        shards = inputs.places.shard_of(positions)
        numbers, starts = np.unique(np.sort(shards), return_index=True)
        by_shard = torch.from_numpy(np.argsort(shards, kind="stable"))
        return cls(tuple(numbers.tolist()), by_shard.tensor_split(starts[1:].tolist()), inputs.files)


@dataclass(frozen=True, slots=True)
class Examples:
    """A split that can be trained on or measured: rows and labels, N of each."""

    inputs: RowSource
    targets: dict[str, Tensor]
    characters: Tensor | None = None  # int64 (V,): how many characters each code of a text stands for
    shards: ExampleShards | None = None  # where rows are read from shards for every batch

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Tensor | None) -> Batch:
        """The rows at `indices` (B,), or all of them."""
        targets = self.targets
        if indices is not None:
            targets = {name: values.index_select(0, indices.to(values.device)) for name, values in targets.items()}
        return Batch(self.inputs.take(indices), targets)

    def blocks(self, least: int = 1) -> Iterator[Tensor]:
        """Indices (b,) of all rows in order, in blocks that fit into memory; fewer than `least` join those before."""
        blocks = each_block(len(self), rows_per_block(self.inputs.volume), least)
        return (torch.arange(block.start, block.stop) for block in blocks)


@dataclass(frozen=True, slots=True)
class ArrayData:
    """A prepared dataset as its files hold it: inputs (N, ...), targets (N, T), split (N,)."""

    spec: DataSpec
    inputs: InputRows | ShardedRows
    targets: Rows
    split: Rows

    @classmethod
    def open(cls, folder: Path, shards: ShardFiles | None = None) -> "ArrayData":
        """Map a canonical folder; only the labels and the split are read now.

        The files of its shards, if it has any, come from `shards`; None: they are in the folder, too.
        """
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        spec = DataSpec.model_validate(manifest["spec"])
        split = np.load(folder / "split.npy", allow_pickle=False)
        inputs = open_sharded(folder, split, spec.shards, shards) if spec.shards else open_rows(folder)
        target_file = folder / "targets.npy"
        no_targets = np.empty((len(inputs), 0))
        return cls(
            spec=spec,
            inputs=inputs,
            targets=np.load(target_file, allow_pickle=False) if target_file.exists() else no_targets,
            split=split,
        )

    def with_classes(self, spec: DataSpec) -> "ArrayData":
        """Return the same rows with class codes as another description of them counts; it has all of their classes."""
        if spec == self.spec:
            return self
        targets = self.targets.copy()
        for index, (own, other) in enumerate(zip(self.spec.targets, spec.targets, strict=True)):
            if own.classes != other.classes:
                codes = np.array([*map(other.classes.index, own.classes), np.nan])
                missing = np.isnan(targets[:, index])
                targets[:, index] = codes[np.where(missing, len(own.classes), targets[:, index]).astype(np.int64)]
        return replace(self, spec=spec, targets=targets)

    def positions(self, split: Split, labelled: Sequence[str] = ()) -> Rows:
        """Positions (n,) of a split's rows; with `labelled`, only of those that carry at least one such target."""
        chosen = self.split == SPLITS.index(split)
        if labelled:
            chosen &= ~np.isnan(self.targets[:, [self._column(name) for name in labelled]]).all(1)
        return np.flatnonzero(chosen)

    def labels(self, name: str, positions: Rows) -> Tensor:
        """A target of some rows, (n,): class codes int64 with -1 missing, or numbers float64 with NaN missing."""
        values = self.targets[positions, self._column(name)]
        if self.spec.targets[self._column(name)].type == "number":
            return torch.from_numpy(values.astype(np.float64))
        return torch.from_numpy(np.where(np.isnan(values), -1, values).astype(np.int64))

    def examples(
        self,
        split: Split,
        modality: Modality,
        device: torch.device,
        labelled: Sequence[str] = (),
        also: Sequence[str] = (),
    ) -> Examples:
        """Encode a split, once if all splits fit into memory; `also` are targets that a row may lack."""
        positions = self.positions(split, labelled)
        targets = {name: self.labels(name, positions).to(device) for name in (*labelled, *also)}
        counts = _characters(modality, device)
        row_bytes = (8 if modality.encoding.vocabulary else 4) * int(np.prod(modality.shape))
        sharded = isinstance(self.inputs, ShardedRows)
        # Of a dataset in shards a small validation split is kept, as it is read again and again between train shards.
        alone = sharded and split == "validation"
        rows = len(positions) if alone else sum(len(self.positions(name, labelled)) for name in SPLITS)
        if rows * row_bytes > MAX_BYTES_IN_MEMORY:
            shards = ExampleShards.of(self.inputs, positions) if isinstance(self.inputs, ShardedRows) else None
            return Examples(OnDisk(self, positions, modality, device), targets, counts, shards)
        encoded = self.encoded(positions, modality).to(device)
        return Examples(InMemory(encoded, modality.encoding.vocabulary), targets, counts)

    def to_fit(self) -> StoredRows:
        """The train rows that preprocessing learns from: all, but of texts some of 64 MiB together, evenly spread.

        Texts in shards are taken from a few shards, which are evenly spread.
        """
        positions = self.positions("train")
        if isinstance(self.inputs, ShardedRows) and self.spec.modality == "text":
            positions = _texts_to_fit(self.inputs, positions)
        elif isinstance(self.inputs, TextRows):
            sizes = self.inputs.offsets[positions + 1] - self.inputs.offsets[positions]
            positions = positions[:: max(1, math.ceil(int(sizes.sum()) / _MAX_BYTES_TO_FIT))]
        return Subset(self.inputs, positions)

    def to_initialize(self, modality: Modality) -> Examples:
        """The train rows that fresh weights may take something from, on the CPU; encoded when they are asked for."""
        cpu = torch.device("cpu")
        return Examples(OnDisk(self, self.positions("train"), modality, cpu), {}, _characters(modality, cpu))

    def encoded(self, positions: Rows, modality: Modality) -> Tensor:
        """Encode chosen rows block by block, so that only the result is large: (n, *shape)."""
        dtype = torch.int64 if modality.encoding.vocabulary else torch.float32
        result = torch.empty((len(positions), *modality.shape), dtype=dtype)
        for block in each_block(len(positions), rows_per_block(modality.shape)):
            rows = modality.aligned(self.inputs[positions[block]], self.spec)
            result[block] = modality.encode(rows)
        return result

    def _column(self, name: str) -> int:
        return [target.name for target in self.spec.targets].index(name)


def _characters(modality: Modality, device: torch.device) -> Tensor | None:
    """How many characters each code of texts stands for, (V,)."""
    counts = modality.characters()
    return None if counts is None else torch.tensor(counts, device=device)


def _texts_to_fit(texts: ShardedRows, positions: Rows) -> Rows:
    """Some of the texts at positions (N,), of near 64 MiB together: as many of each of a few shards, evenly spread."""
    shards = texts.places.shard_of(positions)
    numbers = np.unique(shards)
    numbers = numbers[:: math.ceil(len(numbers) / WINDOW_SHARDS)]
    chosen = []
    for number in numbers.tolist():
        with texts.files.opened(number) as folder:
            rows = open_rows(folder, number)
            assert isinstance(rows, TextRows)
            share = math.ceil(len(numbers) * len(rows.content) / _MAX_BYTES_TO_FIT)
        chosen.append(positions[shards == number][:: max(1, share)])
    return np.sort(np.concatenate(chosen)) if chosen else positions
