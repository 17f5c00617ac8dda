"""What users have in their hands as requests: paths, bytes, pictures, arrays, frames, lists and single rows.

Nothing is imported for it: arrays, frames and pictures are known by what they can do.
"""

import base64
import datetime as dt
import decimal
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graftwork.doubts import outside_the_client
from graftwork.errors import GraftworkWarning
from graftwork.files import CONTENT_TYPES, PICTURES, content_type_of, parts_of

MAX_ROWS = 1000  # in one request: 1,000 images as JSON numbers are a few megabytes
MAX_PIXEL = 65535  # of a PNG
_AS_PNG = frozenset(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])  # modes of Pillow that a PNG has
_EXACT = (bool, int, str, type(None))
_NUMBERS = "biu"  # kinds of NumPy's types that JSON has as they are


def requests_of(inputs: Any) -> Iterator[dict[str, Any]]:
    """Yield the options of the requests that send `inputs`, in their order.

    A file is sent as it is, or in parts: a path (a `Path`, or a string that names a file with a known suffix), an open
    file, or the bytes of one. Anything else is sent as JSON.

    Raises:
        ValueError: a file has a suffix that is not known, or an input holds what JSON does not have.
    """
    path = _path_of(inputs)
    if path is not None:
        yield from _requests_of_file(path.read_bytes(), _content_type(path))
        return
    content = inputs.read() if hasattr(inputs, "read") else inputs
    if hasattr(inputs, "read") and isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes) and content:
        yield from _requests_of_file(content, content_type_of(content))
        return
    if isinstance(inputs, str):
        _warn_of_a_missing_file(inputs)
    rows = rows_of(inputs)
    if isinstance(rows, list):
        rows = [_path_of(row) or row if isinstance(row, str) else row for row in rows]
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
    elif hasattr(inputs, "to_dict") and all(isinstance(key, str) for key in inputs.index):  # a row of a pandas frame
        rows = [inputs.to_dict()]
    elif hasattr(inputs, "tolist"):
        rows = inputs if hasattr(inputs, "shape") else inputs.tolist()
    else:
        rows = list(inputs)
    return rows


def to_json(value: Any) -> Any:
    """Return a value as JSON has it, at any depth; NaN, NaT and NA are null, a missing value.

    Dates become ISO 8601, spans of time seconds; pictures, and the bytes of files, base64.
    """
    if type(value) in _EXACT:
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if hasattr(value, "tolist"):
        return _array(value)
    return _scalar(value)


def _finite(value: float) -> float | None:
    if math.isinf(value):
        msg = "an input holds an infinite number, which JSON does not have: send None for a missing value"
        raise ValueError(msg)
    return None if math.isnan(value) else float(value)


def _scalar(value: Any) -> Any:
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        return value.isoformat() if isinstance(value, dt.date) else _seconds(value)
    if isinstance(value, decimal.Decimal):
        return _finite(float(value))
    if isinstance(value, Path | bytes):
        return _base64(value if isinstance(value, bytes) else _picture_file(value))
    if _is_picture(value):
        return _base64(_png(value))
    return str(value) if isinstance(value, str) else value


def _seconds(value: dt.time | dt.timedelta) -> float:
    """Return a span of time, or the time since midnight, as preparation reads it."""
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return (value.hour * 60 + value.minute) * 60 + value.second + value.microsecond / 1e6


def _array(value: Any) -> Any:
    """Return an array, a tensor, or a NumPy number or text as lists or a plain value."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M":  # times of nanoseconds would become numbers
        return _times(value.astype(str).tolist())
    plain = (value.astype("m8[us]") if kind == "m" else value).tolist()  # spans of nanoseconds, too
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


def _warn_of_a_missing_file(text: str) -> None:
    """Warn where a text looks like the path of a file that is not there."""
    if not any(map(str.isspace, text)) and Path(text).suffix.lower() in CONTENT_TYPES:
        message = f"no_such_file: there is no file {text!r} here, and so it was sent as a text"
        warnings.warn(message, GraftworkWarning, stacklevel=outside_the_client())


def _content_type(path: Path) -> str:
    content_type = CONTENT_TYPES.get(path.suffix.lower())
    if content_type is None:
        msg = f"{path.name}: rows are read from files that end in {', '.join(CONTENT_TYPES)}"
        raise ValueError(msg)
    return content_type


def _requests_of_file(content: bytes, content_type: str) -> Iterator[dict[str, Any]]:
    for part in parts_of(content, content_type):
        yield {"content": part, "headers": {"Content-Type": content_type}}


def _picture_file(path: Path) -> bytes:
    if _content_type(path) not in PICTURES:
        msg = f"{path.name}: a list holds rows or pictures; ask with one file of rows at a time"
        raise ValueError(msg)
    return path.read_bytes()


def _png(picture: Any) -> bytes:
    """Return a picture of Pillow as a PNG, in colour where PNG lacks its mode; it stays turned as its EXIF says."""
    buffer, exif = io.BytesIO(), picture.getexif()
    _with_png_mode(picture).save(buffer, "PNG", **({"exif": exif} if exif else {}))
    return buffer.getvalue()


def _with_png_mode(picture: Any) -> Any:
    mode = picture.mode
    if mode in _AS_PNG:
        return picture
    if mode == "F":
        msg = "a picture of mode F holds fractions: send its numbers, numpy.asarray(picture)"
        raise ValueError(msg)
    if not mode.startswith("I"):
        return picture.convert("RGBA" if mode.lower().endswith("a") else "RGB")
    low, high = picture.getextrema()
    if low < 0 or high > MAX_PIXEL:
        msg = f"a picture of mode {mode} has values from {low} to {high}: send its numbers, numpy.asarray(picture)"
        raise ValueError(msg)
    return picture.convert("I").convert("I;16")


def _is_picture(value: Any) -> bool:
    return hasattr(value, "save") and hasattr(value, "getbands")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def index_of(inputs: Any) -> Any:
    """Return the index of a pandas frame, None of anything else."""
    return (
        inputs.index if hasattr(inputs, "columns") and hasattr(inputs, "to_dict") and hasattr(inputs, "index") else None
    )
