"""Columns of a large table are worked on by several processes, which map their values from scratch files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

import numpy as np
import pyarrow as pa

from app.datasets.frames import Column, TextColumn
from app.datasets.frames.spill import write_batches
from app.kit.parts import Processes

_PART_BYTES = 4 << 20
_MIN_BYTES = 64 << 20  # of fewer, starting processes would cost more than they save
AnyColumn = TypeVar("AnyColumn", bound=Column)
Result = TypeVar("Result")


def are_shared_out(columns: Sequence[Column], processes: Processes) -> bool:
    """Return whether several processes work on the columns: those of text, which are to be read, are large together."""
    text = sum(_bytes(column) for column in columns if isinstance(column, TextColumn))
    return len(columns) > 1 and processes.are_worth(text, _MIN_BYTES)


def map_columns(
    work: Callable[[AnyColumn], Result], columns: Sequence[AnyColumn], processes: Processes, scratch: Path
) -> Iterator[Result]:
    """Yield what `work`, which can be pickled, makes of each column, in their order.

    Results are pickled: they should be small.
    """
    if not are_shared_out(columns, processes):
        yield from map(work, columns)
        return
    parts = (_Part(work, some, tuple(store(column.values, scratch) for column in some)) for some in _cut(columns))
    for results, paths in processes.map(_work, parts):
        for path in paths:
            path.unlink()
        yield from results


def _cut(columns: Sequence[AnyColumn]) -> Iterator[tuple[AnyColumn, ...]]:
    """Yield columns that are neighbours, as many as take `_PART_BYTES` together."""
    some: list[AnyColumn] = []
    for column in columns:
        some.append(column)
        if sum(map(_bytes, some)) >= _PART_BYTES:
            yield tuple(some)
            some = []
    if some:
        yield tuple(some)


class _Part(Generic[AnyColumn, Result]):
    """Columns whose values are in files."""

    def __init__(
        self, work: Callable[[AnyColumn], Result], columns: Sequence[AnyColumn], paths: tuple[Path, ...]
    ) -> None:
        self.work = work
        self.columns = [_with_values(column, None) for column in columns]
        self.paths = paths


def _work(part: _Part[AnyColumn, Result]) -> tuple[list[Result], tuple[Path, ...]]:
    columns = (_with_values(column, load(path)) for column, path in zip(part.columns, part.paths, strict=True))
    return [part.work(column) for column in columns], part.paths


def _with_values(column: AnyColumn, values: Any) -> AnyColumn:
    return replace(column, values=values)


def store(values: Any, scratch: Path) -> Path:
    """Write an Arrow or NumPy array into a file in `scratch` and return its path."""
    if isinstance(values, np.ndarray):
        path = scratch / f"{uuid4().hex}.npy"
        np.save(path, values, allow_pickle=False)
        return path
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    return write_batches(([chunk] for chunk in chunks), pa.schema([("values", values.type)]), scratch)


def load(path: Path) -> Any:
    """Return a stored array, memory-mapped: chunked, where it is one of Arrow's."""
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all().column(0)


def _bytes(column: Column) -> int:
    return int(column.values.nbytes)
