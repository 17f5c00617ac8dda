"""Spills large Arrow arrays to disk, memory-mapped, so that a table of text may be larger than memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

MIN_SPILLED_BYTES = 1 << 20


def spill(values: Any, scratch: Path) -> Any:
    """Return the Arrow array `values`, mapped from a file in `scratch` where it is large."""
    return spill_all([values], scratch)[0]


def spill_all(columns: Sequence[Any], scratch: Path) -> Sequence[Any]:
    """Return Arrow arrays of one length, mapped from a file in `scratch` where they are large together."""
    if sum(values.nbytes for values in columns) < MIN_SPILLED_BYTES:
        return columns
    schema = pa.schema([(str(index), values.type) for index, values in enumerate(columns)])
    (mapped,) = map_batches(write_batches([columns], schema, scratch))
    return mapped


def write_batches(batches: Iterable[Sequence[Any]], schema: Any, scratch: Path) -> Path:
    """Write batches of columns, one after the other, and return the path of their file in `scratch`."""
    path = scratch / f"{uuid4().hex}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for columns in batches:
            writer.write_batch(pa.record_batch(list(columns), schema=schema))
    return path


def map_batches(path: Path) -> list[Sequence[Any]]:
    """Return the batches of columns of a file, memory-mapped."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        return [reader.get_batch(index).columns for index in range(reader.num_record_batches)]
