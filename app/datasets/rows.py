"""Some rows of a prepared dataset as JSON, for people to look at."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.ml.spec import SPLITS, ColumnSpec, DataSpec, TargetSpec

Cell = str | float | None


def preview(folder: Path, spec: DataSpec, offset: int, limit: int) -> list[dict[str, Any]]:
    """Return rows offset .. offset + limit - 1 of the canonical files in `folder`.

    A row is {"row": its number in the source, "split", "input", "targets": {name: value}}. The input is a PNG as a
    data URL for images, {column: value} for tables; null stands for a missing value.
    """
    wanted = slice(offset, offset + limit)
    inputs, split, rows = (_open(folder, name)[wanted] for name in ("inputs", "split", "rows"))
    targets = _open(folder, "targets")[wanted] if spec.targets else np.empty((len(rows), 0))
    return [
        {
            "row": int(rows[i]),
            "split": SPLITS[int(split[i])],
            "input": _image(inputs[i]) if spec.modality == "image" else _cells(spec.columns, inputs[i]),
            "targets": _cells(spec.targets, targets[i]),
        }
        for i in range(len(rows))
    ]


def _open(folder: Path, name: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return array


def _cells(specs: Sequence[ColumnSpec | TargetSpec], values: npt.NDArray[Any]) -> dict[str, Cell]:
    return {spec.name: _cell(spec, float(value)) for spec, value in zip(specs, values, strict=True)}


def _cell(spec: ColumnSpec | TargetSpec, value: float) -> Cell:
    if math.isnan(value):
        return None
    if spec.type == "number":
        return value
    names = spec.categories if isinstance(spec, ColumnSpec) else spec.classes
    return names[int(value)]


def _image(pixels: npt.NDArray[Any]) -> str:
    """Return uint8 (H, W, C) with C of 1, 3 or 4 as a PNG in a data URL."""
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
