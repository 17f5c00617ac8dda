"""The canonical form: inputs.npy, targets.npy, split.npy, rows.npy and manifest.json in one folder.

Texts have text.npy, the UTF-8 bytes of all rows, and offsets.npy, where each begins, instead of inputs.npy.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames import Bools, Bytes, Frame, Inputs
from app.datasets.frames.texts import Texts, TextWriter
from app.ml.data.spec import DataSpec

FORMAT = 1
CHUNK_BYTES = 32 << 20


def write_inputs(inputs: Inputs, keep: Bools, out: Path) -> Inputs:
    """Write the kept rows of `inputs` in pieces of bounded size and return them, mapped."""
    return _write_texts(inputs, keep, out) if isinstance(inputs, Texts) else _write_array(inputs, keep, out)


def _write_texts(texts: Texts, keep: Bools, out: Path) -> Texts:
    with closing(TextWriter(out)) as writer:
        for place in np.flatnonzero(keep):
            writer.add_raw(texts.raw(int(place)))
        written = writer.finish()
    np.save(out / "offsets.npy", written.offsets, allow_pickle=False)
    return written


def _write_array(inputs: npt.NDArray[Any], keep: Bools, out: Path) -> npt.NDArray[Any]:
    dtype = np.uint8 if inputs.dtype == np.uint8 else np.float32
    shape = (int(keep.sum()), *inputs.shape[1:])
    written = np.lib.format.open_memmap(out / "inputs.npy", mode="w+", dtype=dtype, shape=shape)
    step = max(1, CHUNK_BYTES // max(1, inputs[:1].nbytes))
    at = 0
    for start in range(0, len(inputs), step):
        piece = inputs[start : start + step][keep[start : start + step]]
        written[at : at + len(piece)] = piece
        at += len(piece)
    written.flush()
    return written


def write_rest(frame: Frame, split: Bytes, spec: DataSpec, out: Path) -> list[str]:
    """Write what belongs to the kept rows and return the names of all files of the folder."""
    arrays: dict[str, npt.NDArray[Any]] = {"split": split, "rows": frame.rows}
    if spec.targets:
        arrays["targets"] = np.ascontiguousarray(frame.targets)
    for name, array in arrays.items():
        np.save(out / f"{name}.npy", array, allow_pickle=False)
    manifest = {"format": FORMAT, "spec": spec.model_dump(mode="json")}
    (out / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    inputs = ["text.npy", "offsets.npy"] if isinstance(frame.inputs, Texts) else ["inputs.npy"]
    return [*inputs, *(f"{name}.npy" for name in arrays), "manifest.json"]
