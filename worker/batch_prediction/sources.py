"""Where rows come from: a file that was sent for it, or a prepared dataset. Both give blocks from any row on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.batch_predictions.row_files import RowFile
from app.batch_predictions.row_files.base import MAX_BLOCK_BYTES, MAX_BLOCK_ROWS, ColumnType
from app.datasets.canonical.rows import inputs_of
from app.datasets.errors import Code, DatasetError, RowError
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Modality, Rows
from app.ml.kinds.modalities.decoding import with_clean_keys
from app.ml.spec import SPLITS
from worker.batch_prediction.columns import FILE, SPLIT


@dataclass(frozen=True, slots=True)
class SourceBlock:
    """Rows (n): their numbers, inputs, errors by place, columns to copy, and `stored`, as a dataset keeps them.

    Without `inputs` the stored rows are answered as they are.
    """

    first: int  # the place of the first row in the source
    numbers: Sequence[int]
    inputs: Sequence[Any] | Rows | None
    errors: Mapping[int, str] = field(default_factory=dict)
    fixed: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    kept: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    stored: Rows | None = None

    @property
    def stop(self) -> int:
        """The place after the last row."""
        return self.first + len(self.numbers)


class Source(Protocol):
    """Rows to answer, with what each block brings of them."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    @property
    def kept(self) -> Mapping[str, ColumnType]:
        """The columns of the file that are copied."""
        ...

    @property
    def fixed(self) -> Sequence[str]:
        """The columns that say which file, or split, a row is of."""
        ...

    def blocks(self, start: int) -> Iterator[SourceBlock]:
        """Yield the rows from place `start` on."""
        ...


class FileSource:
    """The rows of a file, with the columns `keep` of it."""

    def __init__(self, file: RowFile, keep: Sequence[str] | str, modality: Modality, *, has_files: bool) -> None:
        self._file = file
        self.rows = file.rows
        self.fixed = (FILE,) if has_files else ()
        self.kept = _chosen(file.columns, keep, modality)

    def blocks(self, start: int) -> Iterator[SourceBlock]:
        """Yield the rows from number `start` on."""
        for block in self._file.blocks(start):
            rows = block.inputs
            kept = {name: [row.get(name) if isinstance(row, dict) else None for row in rows] for name in self.kept}
            fixed = {} if block.files is None else {FILE: block.files}
            numbers = range(block.first, block.first + len(block))
            yield SourceBlock(block.first, numbers, rows, block.errors, fixed, kept)


class DatasetSource:
    """The rows of a prepared dataset in the order of its file, each with its number there and its split."""

    fixed = (SPLIT,)

    def __init__(self, data: ArrayData, folder: Path, modality: Modality, copied: FileSource | None) -> None:
        self._data, self._modality, self._copied = data, modality, copied
        self._numbers: NDArray[np.int64] = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
        self.rows = len(self._numbers)
        row_bytes = 8 * int(np.prod(data.spec.shape))
        self._step = max(1, min(MAX_BLOCK_ROWS, MAX_BLOCK_BYTES // row_bytes))

    @property
    def kept(self) -> Mapping[str, ColumnType]:
        """The columns of the dataset's file that are copied."""
        return {} if self._copied is None else self._copied.kept

    def blocks(self, start: int) -> Iterator[SourceBlock]:
        """Yield the rows from place `start` on.

        They are read as JSON, too, so that what is doubtful of them is found as it is in rows that are sent.
        """
        spec = self._data.spec
        copies = self._copies(int(self._numbers[start])) if start < self.rows else iter(())
        for first in range(start, self.rows, self._step):
            window = slice(first, min(first + self._step, self.rows))
            stored = self._modality.aligned(self._data.inputs[window], spec)
            inputs = None if spec.modality == "image" else inputs_of(self._data.inputs, spec, window)
            splits = [SPLITS[int(code)] for code in self._data.split[window]]
            numbers = self._numbers[window].tolist()
            rows = [next(row for number, row in copies if number == place) for place in numbers] if self.kept else []
            kept = {name: [row[name] for row in rows] for name in self.kept}
            yield SourceBlock(first, numbers, inputs, fixed={SPLIT: splits}, kept=kept, stored=stored)

    def _copies(self, start: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield the numbers of the file's rows, from `start` on, and what is copied of each."""
        for block in self._copied.blocks(start) if self._copied is not None else ():
            for place, number in enumerate(block.numbers):
                yield number, {name: values[place] for name, values in block.kept.items()}


def are_ascending(folder: Path) -> bool:
    """Return whether the rows of a dataset stand in the order of its file."""
    numbers = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
    return bool((np.diff(numbers) > 0).all())


def check_columns(file: RowFile, modality: Modality) -> list[str]:
    """Return the model's columns that a file with named columns lacks, and may lack.

    Raises:
        DatasetError: it lacks some without which no row can be read, or all of them.
    """
    keys, required = modality.keys, modality.required_keys
    if not file.columns or not keys or modality.kind != "table":
        return []
    names = set(with_clean_keys(dict.fromkeys(file.columns), set(keys)))
    names |= {key for key in keys if key.rstrip("0123456789") in names}  # a list under "e" holds e0, e1 ...
    missing = [key for key in keys if key not in names]
    if set(missing) & set(required) or len(missing) == len(keys):
        shown = ", ".join(repr(key[:40]) for key in missing[:5]) + (" ..." if len(missing) > 5 else "")  # noqa: PLR2004
        message = f"the file lacks columns that the model needs: {shown}; its columns are "
        message += ", ".join(repr(name[:40]) for name in list(file.columns)[:10])
        raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError((key,), message) for key in missing[:20]])
    return missing


def _chosen(columns: Mapping[str, ColumnType], keep: Sequence[str] | str, modality: Modality) -> dict[str, ColumnType]:
    """Return the columns to copy. Raises DatasetError where the file lacks one."""
    if isinstance(keep, str):
        keys = set(modality.keys)
        cleaned = {name: next(iter(with_clean_keys({name: None}, keys))) for name in columns}
        inputs = {name for name, key in cleaned.items() if key in keys or f"{key}0" in keys}
        if not inputs and modality.kind != "table":  # the texts or pictures stand under another key
            inputs = {name for name in columns if name not in modality.left_out}
        return {name: kind for name, kind in columns.items() if name not in inputs}
    lacking = [name for name in keep if name not in columns]
    if lacking:
        message = f"keep names the column {lacking[0][:100]!r}, which the file does not have"
        raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("keep",), message)])
    return {name: columns[name] for name in keep}
