"""Files as people have them, of some rows of a set; and the inputs of a request that asks for predictions of others."""

import io
import json
import zipfile
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sources import Array

from bench.simple.sets import Set, Upload, take


def csv_file(data: Set, positions: Array) -> Upload:
    """A CSV with the target as its last column, under its own name; texts are the column `text`."""
    frame = take(data.rows, positions) if data.modality == "table" else _column(data, positions)
    content = frame.assign(**{data.target: data.y[positions]}).to_csv(index=False).encode()
    return content, f"{_plain(data)}.csv", _role(data)


def json_lines(data: Set, positions: Array) -> Upload:
    """An object a line: texts, or the values of a series, a list of the channels' for each step."""
    pairs = zip(take(data.rows, positions), data.y[positions].tolist(), strict=True)
    lines = [json.dumps({**_fields(data, row), data.target: label}) for row, label in pairs]
    return "\n".join(lines).encode(), f"{_plain(data)}.jsonl", _role(data)


def long_csv(data: Set, positions: Array) -> Upload:
    """A line for each step of a series: its number, the step, the channels and the label."""
    lines = [",".join(["series", "step", *_channels(data), data.target])]
    for number, position in enumerate(positions):
        for step, values in enumerate(data.rows[position].tolist()):
            lines.append(",".join(map(str, [number, step, *values, data.y[position]])))
    return "\n".join(lines).encode(), f"{_plain(data)}.csv", {"series": {"id": "series", "time": "step"}, **_role(data)}


def arrays(data: Set, positions: Array) -> Upload:
    """An .npz of x and y; series need their modality."""
    rows = take(data.rows, positions)
    x = np.stack(rows).squeeze(-1) if data.modality == "series" else rows
    buffer = io.BytesIO()
    np.savez(buffer, x=x, y=data.y[positions])
    return buffer.getvalue(), f"{_plain(data)}.npz", {"modality": "series"} if data.modality == "series" else {}


def zipped_images(data: Set, positions: Array) -> Upload:
    """A zip of PNG files, a folder for each class."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number, position in enumerate(positions):
            file.writestr(f"{data.y[position]}/{number:05}.png", png(data.rows[position]))
    return buffer.getvalue(), f"{_plain(data)}.zip", {}


def inputs_of(data: Set, positions: Array) -> list[Any]:
    """Return the rows as inputs of a request for predictions."""
    rows = take(data.rows, positions)
    if data.modality == "table":
        return rows.to_dict("records")
    if data.modality == "series":
        return [row.squeeze(-1).tolist() if row.shape[1] == 1 else row.tolist() for row in rows]
    if data.modality == "image":
        return [png(row) if data.file is zipped_images else row for row in rows]
    return list(rows)


def png(pixels: Array) -> bytes:
    """Return an image's file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _fields(data: Set, row: Any) -> dict[str, Any]:
    if data.modality == "text":
        return {"text": row}
    return {"values": row.squeeze(-1).tolist() if row.shape[1] == 1 else row.tolist()}


def _channels(data: Set) -> list[str]:
    return [f"channel_{number}" for number in range(data.rows[0].shape[1])]


def _column(data: Set, positions: Array) -> pd.DataFrame:
    return pd.DataFrame({"text": take(data.rows, positions)})


def _role(data: Set) -> dict[str, Any]:
    """Name the target, where a file does not say it by the column's name."""
    return {} if data.target in {"label", "target", "class", "y"} else {"columns": {data.target: "target"}}


def _plain(data: Set) -> str:
    return data.name.lower().replace(" ", "-")
