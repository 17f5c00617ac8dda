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
from app.ml.data.words import cells_of
from app.ml.interfaces import Batch, Encoding, Modality, Rows, Shape, StoredRows
from app.ml.spec import SPLITS, DataSpec, Split

COLUMN_TEXTS, OFFSETS = "column_texts.npy", "column_offsets.npy"
_MAX_BYTES_TO_FIT = 64 << 20
MAX_BYTES_IN_MEMORY = 1 << 30  # of all splits' encoded rows; above it every batch is encoded from the mapped file


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


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the stored rows, at positions (n,), read from the file when they are indexed."""

    rows: Rows | TextRows | TableRows
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
class Examples:
    """A split that can be trained on or measured: rows and labels, N of each."""

    inputs: RowSource
    targets: dict[str, Tensor]
    characters: Tensor | None = None  # int64 (V,): how many characters each code of a text stands for

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
    inputs: Rows | TextRows | TableRows
    targets: Rows
    split: Rows

    @classmethod
    def open(cls, folder: Path) -> "ArrayData":
        """Map a canonical folder; only the labels and the split are read now."""
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        inputs = _open_inputs(folder)
        target_file = folder / "targets.npy"
        no_targets = np.empty((len(inputs), 0))
        return cls(
            spec=DataSpec.model_validate(manifest["spec"]),
            inputs=inputs,
            targets=np.load(target_file, allow_pickle=False) if target_file.exists() else no_targets,
            split=np.load(folder / "split.npy", allow_pickle=False),
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
        if sum(len(self.positions(name, labelled)) for name in SPLITS) * row_bytes > MAX_BYTES_IN_MEMORY:
            return Examples(OnDisk(self, positions, modality, device), targets, counts)
        encoded = self.encoded(positions, modality).to(device)
        return Examples(InMemory(encoded, modality.encoding.vocabulary), targets, counts)

    def to_fit(self) -> StoredRows:
        """The train rows that preprocessing learns from: all, but of texts some of 64 MiB together, evenly spread."""
        positions = self.positions("train")
        if isinstance(self.inputs, TextRows):
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


def _open_inputs(folder: Path) -> Rows | TextRows | TableRows:
    text = folder / "text.npy"
    if text.exists():
        content = np.load(text, mmap_mode="r", allow_pickle=False)
        return TextRows(content, np.load(folder / "offsets.npy", allow_pickle=False))
    inputs: Rows = np.load(folder / "inputs.npy", mmap_mode="r", allow_pickle=False)
    if (folder / COLUMN_TEXTS).exists():
        return TableRows(inputs, open_column_texts(folder, len(inputs)))
    return inputs


def open_column_texts(folder: Path, rows: int) -> tuple[TextRows, ...]:
    """Map the columns of texts of a table of so many rows, one after the other."""
    content, offsets = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (COLUMN_TEXTS, OFFSETS))
    starts = range(0, len(offsets) - 1, rows)
    return tuple(TextRows(content, offsets[start : start + rows + 1]) for start in starts)
