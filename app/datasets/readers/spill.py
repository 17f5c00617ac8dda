"""Spills large Arrow arrays to disk, memory-mapped, so that a table of text may be larger than memory."""

from collections.abc import Sequence
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
    path = scratch / f"{uuid4().hex}.arrow"
    batch = pa.record_batch(list(columns), names=[str(index) for index in range(len(columns))])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pa.memory_map(str(path)) as source:
        mapped: Sequence[Any] = pa.ipc.open_file(source).get_batch(0).columns
        return mapped
