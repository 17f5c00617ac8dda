"""Large pieces of columns wait on disk, mapped, so that a table of text needs no memory for all of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

SMALL = 1 << 20


def spill(values: Any, work: Path) -> Any:
    """Return the Arrow array `values`, from a file in `work` where it is large."""
    return spill_all([values], work)[0]


def spill_all(columns: Sequence[Any], work: Path) -> Sequence[Any]:
    """Return equally long Arrow arrays, from one file in `work` where they are large together."""
    if sum(values.nbytes for values in columns) < SMALL:
        return columns
    path = work / f"{uuid4().hex}.arrow"
    batch = pa.record_batch(list(columns), names=[str(place) for place in range(len(columns))])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pa.memory_map(str(path)) as source:
        found: Sequence[Any] = pa.ipc.open_file(source).get_batch(0).columns
        return found
