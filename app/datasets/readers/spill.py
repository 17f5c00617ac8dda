"""Large pieces of a column wait on disk, mapped, so that a table of long texts needs no memory for all of them."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

SMALL = 4 << 20


def spill(values: Any, work: Path) -> Any:
    """Return the Arrow array `values`, from a file in `work` where it is large."""
    if values.nbytes < SMALL:
        return values
    path = work / f"{uuid4().hex}.arrow"
    batch = pa.record_batch([values], names=["values"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).get_batch(0).column(0)
