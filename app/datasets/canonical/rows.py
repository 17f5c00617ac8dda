"""Rows of a prepared dataset as JSON, for people to look at."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.ml.data.dates import stored_to_iso, to_iso
from app.ml.data.stored_rows import (
    InputRows,
    ShardedRows,
    ShardFiles,
    TableRows,
    open_rows,
    open_sharded,
)
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, TargetSpec

Cell = str | float | None
Stored = np.float32 | np.float64  # datasets of earlier releases hold float32
MAX_CHARACTERS = 2000


def preview(
    folder: Path, spec: DataSpec, offset: int, limit: int, shards: ShardFiles | None = None
) -> list[dict[str, Any]]:
    """Return the rows from `offset` to `offset + limit - 1` of the canonical files in `folder`.

    A row is {"row": its number in the source, "split", "input", "targets": {name: value}}. The input is a PNG as a
    data URL for images, {column: value} for tables, with dates as ISO 8601; for texts {"text", "truncated"}, the text
    to at most 2,000 characters; for series a list of steps, each a list with a number per channel, up to the last one
    that has a value. Null stands for a missing value. The files of shards come from `shards`, or are in the folder.
    """
    window = slice(offset, offset + limit)
    split, rows = (_open(folder, name)[window] for name in ("split", "rows"))
    inputs = _shown_inputs(open_inputs(folder, spec, shards), spec, window)
    targets = _open(folder, "targets")[window] if spec.targets else np.empty((len(rows), 0))
    return [
        {
            "row": int(rows[i]),
            "split": SPLITS[int(split[i])],
            "input": inputs[i],
            "targets": _cells(spec.targets, targets[i]),
        }
        for i in range(len(rows))
    ]


def open_inputs(folder: Path, spec: DataSpec, shards: ShardFiles | None = None) -> InputRows | ShardedRows:
    """Map the inputs in a canonical folder; the files of their shards come from `shards`, or are in the folder."""
    if not spec.shards:
        return open_rows(folder)
    return open_sharded(folder, _open(folder, "split"), spec.shards, shards)


def _shown_inputs(inputs: InputRows | ShardedRows, spec: DataSpec, window: slice) -> list[Any]:
    if spec.modality == "text":
        return [_text(text) for text in inputs_of(inputs, spec, window)]
    if spec.modality == "image":
        return [as_png(row) for row in inputs[window]]
    return inputs_of(inputs, spec, window)


def inputs_of(inputs: InputRows | ShardedRows, spec: DataSpec, window: slice) -> list[Any]:
    """Return stored texts, series or rows of a table as JSON: whole texts, lists of steps, objects by column."""
    if spec.modality == "text":
        return list(inputs[window])
    if spec.modality == "series":
        return [_steps(row) for row in inputs[window]]
    positions = np.arange(len(inputs))[window]
    if not isinstance(inputs, ShardedRows):
        return _table_rows(inputs, spec, positions)
    rows: list[Any] = [None] * len(positions)
    for shard, indices, within in inputs.places.pieces(positions):
        with inputs.files.opened(shard) as folder:
            for index, row in zip(indices, _table_rows(open_rows(folder, shard), spec, within), strict=True):
                rows[index] = row
    return rows


def _table_rows(inputs: InputRows, spec: DataSpec, positions: npt.NDArray[np.int64]) -> list[dict[str, Cell]]:
    """Return rows of a table as objects by column; a column of texts holds its text where it is not missing."""
    values, texts = (inputs.values, inputs.texts) if isinstance(inputs, TableRows) else (inputs, ())
    rows = [_cells(spec.columns, row) for row in values[positions]]
    names = [column.name for column in spec.columns if column.type == "text"]
    for name, column in zip(names, texts, strict=True):
        for row, text in zip(rows, column[positions], strict=True):
            row[name] = text if row[name] is not None else None
    return rows


def _text(text: str) -> dict[str, Any]:
    truncated = len(text) > MAX_CHARACTERS
    return {"text": text[: MAX_CHARACTERS - 1] + "\u2026" if truncated else text, "truncated": truncated}


def _steps(series: npt.NDArray[Any]) -> list[list[float | None]]:
    """Return the steps of a series (T, C) without the NaN that pads it; missing values are None."""
    observed = np.flatnonzero(~np.isnan(series).all(axis=1))
    length = int(observed[-1]) + 1 if len(observed) else 0
    return [[None if math.isnan(value) else _number(value) for value in step] for step in series[:length]]


def _open(folder: Path, name: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return array


def _cells(specs: Sequence[ColumnSpec | TargetSpec], values: npt.NDArray[Any]) -> dict[str, Cell]:
    return {spec.name: _cell(spec, value) for spec, value in zip(specs, values, strict=True)}


def _cell(spec: ColumnSpec | TargetSpec, value: Stored) -> Cell:
    if math.isnan(value):
        return None
    if spec.type in {"number", "text"}:  # of a text its digest, in whose place it is put
        return _number(value)
    if spec.type == "date":
        return stored_to_iso(float(value)) if isinstance(value, np.float32) else to_iso(float(value))
    names = spec.categories if isinstance(spec, ColumnSpec) else spec.classes
    return names[int(value)]


def _number(value: Stored) -> float:
    """Return a stored number as it was uploaded; of a float32 of earlier releases the shortest number, as 46.6."""
    return float(str(value)) if isinstance(value, np.float32) else float(value)


def as_png(pixels: npt.NDArray[Any]) -> str:
    """Return uint8 (H, W, C) with C of 1, 3 or 4 as a PNG in a data URL."""
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
