"""What users have in their hands as requests: paths, bytes, pictures, arrays, frames, lists and single rows.

Nothing is imported for it: arrays, frames and pictures are known by what they can do.
"""

import base64
import datetime as dt
import decimal
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_ROWS = 1000  # in one request: 1,000 images as JSON numbers are a few megabytes
CONTENT_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".npy": "application/x-npy",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
_EXACT = (bool, int, str, type(None))
_NUMBERS = "biu"  # kinds of NumPy's types that JSON has as they are


def requests_of(inputs: Any) -> Iterator[dict[str, Any]]:
    """Yield the options of the requests that send `inputs`, in their order.

    A path (a `Path`, or a string that names a file with a known suffix) is sent as it is; anything else as JSON.

    Raises:
        ValueError: a file has a suffix that is not known.
    """
    path = _path_of(inputs)
    if path is not None:
        yield _file(path.read_bytes(), path)
        return
    rows = rows_of(inputs)
    for start in range(0, max(len(rows), 1), MAX_ROWS):  # no inputs are one empty request, which is refused
        yield {"json": {"inputs": to_json(rows[start : start + MAX_ROWS])}}


def rows_of(inputs: Any) -> Sequence[Any]:
    """Return the rows of a frame, an array or a list; one object, text, picture or file's bytes is one row."""
    if hasattr(inputs, "to_pylist"):  # Arrow
        rows: Sequence[Any] = inputs.to_pylist()
    elif hasattr(inputs, "to_dicts"):  # polars
        rows = inputs.to_dicts()
    elif hasattr(inputs, "columns") and hasattr(inputs, "to_dict"):  # pandas
        rows = inputs.to_dict("records")
    elif isinstance(inputs, Mapping | str | bytes) or _is_picture(inputs):
        rows = [inputs]
    elif hasattr(inputs, "tolist"):
        rows = inputs if hasattr(inputs, "shape") else inputs.tolist()
    else:
        rows = list(inputs)
    return rows


def to_json(value: Any) -> Any:
    """Return a value as JSON has it, at any depth; NaN, NaT and NA are null, a missing value.

    Dates become ISO 8601; pictures, and the bytes of files, base64.
    """
    if type(value) in _EXACT:
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if hasattr(value, "tolist"):
        return _array(value)
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, Path | bytes):
        return _base64(value if isinstance(value, bytes) else value.read_bytes())
    if _is_picture(value):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return _base64(buffer.getvalue())
    return str(value) if isinstance(value, str) else value


def _array(value: Any) -> Any:
    """Return an array, a tensor, or a NumPy number or text as lists or a plain value."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M":  # times of nanoseconds would become numbers
        return _times(value.astype(str).tolist())
    plain = value.tolist()
    return plain if kind and kind in _NUMBERS else to_json(plain)


def _times(value: Any) -> Any:
    """Return written times, with null for those that are missing."""
    if isinstance(value, list):
        return [_times(item) for item in value]
    return None if value == "NaT" else value


def _path_of(inputs: Any) -> Path | None:
    if isinstance(inputs, Path):
        return inputs
    if not isinstance(inputs, str) or "\n" in inputs or Path(inputs).suffix.lower() not in CONTENT_TYPES:
        return None
    return Path(inputs) if Path(inputs).is_file() else None


def _file(content: bytes, path: Path) -> dict[str, Any]:
    content_type = CONTENT_TYPES.get(path.suffix.lower())
    if content_type is None:
        msg = f"{path.name}: rows are read from files that end in {', '.join(CONTENT_TYPES)}"
        raise ValueError(msg)
    return {"content": content, "headers": {"Content-Type": content_type}}


def _is_picture(value: Any) -> bool:
    return hasattr(value, "save") and hasattr(value, "getbands")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
