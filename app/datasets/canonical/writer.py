"""Writes the canonical form: inputs.npy, targets.npy, split.npy, rows.npy and manifest.json in one folder.

Inputs are uint8 for images and float64 for tables and series, as they were uploaded.
Columns of texts of a table have column_texts.npy and column_offsets.npy besides; in inputs.npy stand digests of them.
Image files that were decoded have decodings.npy, by which a later version of the dataset knows them.
Texts have text.npy, the UTF-8 bytes of all rows, and offsets.npy, where each row begins, instead of inputs.npy.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.datasets.frames import Bools, Bytes, Frame, Inputs
from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.decodings import DECODINGS, Decodings
from app.datasets.frames.texts import Texts, TextWriter
from app.ml.spec import DataSpec

FORMAT = 2  # 1 held tables and series as float32


def write_inputs(inputs: Inputs, keep: Bools, out: Path) -> Inputs:
    """Write the rows of `inputs` (N, ...) that the mask `keep` (N,) selects, and return them memory-mapped."""
    return _write_texts(inputs, keep, out) if isinstance(inputs, Texts) else _write_array(inputs, keep, out)


def _write_texts(texts: Texts, keep: Bools, out: Path) -> Texts:
    with closing(TextWriter(out)) as writer:
        for position in np.flatnonzero(keep):
            writer.add_raw(texts.raw(int(position)))
        written = writer.finish()
    np.save(out / "offsets.npy", written.offsets, allow_pickle=False)
    return written


def _write_array(inputs: npt.NDArray[Any], keep: Bools, out: Path) -> npt.NDArray[Any]:
    dtype = np.uint8 if inputs.dtype == np.uint8 else np.float64
    shape = (int(keep.sum()), *inputs.shape[1:])
    written = np.lib.format.open_memmap(out / "inputs.npy", mode="w+", dtype=dtype, shape=shape)
    start = 0
    for rows in row_chunks(inputs):
        kept = inputs[rows][keep[rows]]
        written[start : start + len(kept)] = kept
        start += len(kept)
    written.flush()
    return written


def write_column_texts(frame: Frame, keep: Bools, out: Path) -> list[str]:
    """Write the kept rows of a table's columns of texts, one after the other, and return the names of the files."""
    chosen = [frame.texts[column.name].filter(pa.array(keep)) for column in frame.columns if column.type == "text"]
    if not chosen:
        return []
    encoded = [(text or "").encode() for column in chosen for text in column.to_pylist()]
    np.save(out / "column_texts.npy", np.frombuffer(b"".join(encoded), np.uint8), allow_pickle=False)
    np.save(out / "column_offsets.npy", np.cumsum([0, *map(len, encoded)]), allow_pickle=False)
    return ["column_texts.npy", "column_offsets.npy"]


def write_decodings(decodings: Decodings | None, keep: Bools, out: Path) -> list[str]:
    """Write the keys of the kept rows' image files, where they have some, and return the names of the files."""
    if decodings is None:
        return []
    np.save(out / DECODINGS, decodings.keys[keep], allow_pickle=False)
    return [DECODINGS]


def write_labels(frame: Frame, split: Bytes, spec: DataSpec, out: Path) -> list[str]:
    """Write the targets, splits and row numbers of the kept rows and the manifest; return the names of all files."""
    arrays: dict[str, npt.NDArray[Any]] = {"split": split, "rows": frame.rows}
    if spec.targets:
        arrays["targets"] = np.ascontiguousarray(frame.targets)
    for name, array in arrays.items():
        np.save(out / f"{name}.npy", array, allow_pickle=False)
    manifest = {"format": FORMAT, "spec": spec.model_dump(mode="json")}
    (out / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    inputs = ["text.npy", "offsets.npy"] if isinstance(frame.inputs, Texts) else ["inputs.npy"]
    return [*inputs, *(f"{name}.npy" for name in arrays), "manifest.json"]
