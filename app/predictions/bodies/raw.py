"""A raw array: the numbers alone, in C order; the Content-Type says their dtype and shape.

    Content-Type: application/octet-stream; dtype=float32; shape=32,784

The first axis of the shape counts the rows, and one length may be -1. Numbers are little-endian unless the dtype is
written as NumPy writes others (>f4) or `byteorder=big` says so.
"""

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.predictions.bodies.form import check_count, unreadable

CONTENT_TYPE = "application/octet-stream"
PARAMETERS = ("dtype", "shape", "byteorder")
MAX_DIMENSIONS = 8
EXAMPLE = f"{CONTENT_TYPE}; dtype=float32; shape=32,784"
DESCRIPTION = f"Or the numbers of an array, in C order; the Content-Type says which: {EXAMPLE}"
_NAMES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
DTYPES = (*_NAMES, "float16", "float32", "float64")
_OTHER_NAMES = {
    **{np.dtype(name).str[1:]: name for name in DTYPES},  # f4
    "half": "float16",
    "single": "float32",
    "float": "float32",
    "double": "float64",
    "byte": "int8",
}
_LENGTH = re.compile(r"-1|\d{1,12}", re.ASCII)


def is_raw(parameters: Mapping[str, str]) -> bool:
    """Return whether the parameters of a Content-Type say anything of an array."""
    return bool(parameters.keys() & set(PARAMETERS))


def read(content: bytes, parameters: Mapping[str, str]) -> NDArray[Any]:
    """Return the array (N, ...) that the bytes are.

    Raises:
        UnprocessableError: dtype or shape are missing, or are none; or the bytes are not as many as they say.
    """
    _refuse_unknown(parameters)
    dtype = _dtype(parameters.get("dtype"), parameters.get("byteorder"))
    shape = _shape(parameters.get("shape"), len(content), dtype)
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(content):
        listed = ",".join(map(str, shape))
        msg = f"shape {listed} of {dtype.name} takes {expected} bytes, and {len(content)} were sent"
        raise unreadable(msg)
    check_count(shape[0])
    return np.frombuffer(content, dtype).reshape(shape)


def _refuse_unknown(parameters: Mapping[str, str]) -> None:
    for name in parameters:
        if name not in PARAMETERS:
            near = get_close_matches(name, PARAMETERS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            msg = f"the Content-Type has no parameter {name[:40]!r}{hint} It is written so: {EXAMPLE}"
            raise unreadable(msg)


def _dtype(name: str | None, order: str | None) -> np.dtype[Any]:
    if not name:
        msg = f"say the numbers' type in the Content-Type, too: {EXAMPLE}"
        raise unreadable(msg)
    plain = name.strip()
    sign = plain[0] if plain[0] in "<>=|" else ""
    plain = plain.removeprefix(sign) if sign else plain
    plain = re.sub(r"^fp(?=\d)", "float", plain, flags=re.IGNORECASE)  # as KServe writes it
    known = _OTHER_NAMES.get(plain, plain.lower())
    if known not in DTYPES:
        near = get_close_matches(known, DTYPES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        msg = f"dtype {name[:40]!r} is not read{hint} There are {', '.join(DTYPES)}"
        raise unreadable(msg)
    if order not in (None, "little", "big"):
        msg = f"byteorder is little or big, not {order[:40]!r}" if order else "byteorder is little or big"
        raise unreadable(msg)
    if order is not None and sign in ("<", ">") and (sign == ">") != (order == "big"):
        msg = f"dtype {name[:40]!r} and byteorder {order!r} contradict each other: leave one out"
        raise unreadable(msg)
    return np.dtype(known).newbyteorder(">" if sign == ">" or order == "big" else "<")


def _shape(text: str | None, size: int, dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the shape; a length of -1 is the one that fits so many bytes."""
    if not text:
        msg = f"say the array's shape in the Content-Type, too, rows first: {EXAMPLE}"
        raise unreadable(msg)
    lengths = [part.strip() for part in re.split(r"[,x]", text.strip().strip("()[]").rstrip(","))]
    is_shape = 1 <= len(lengths) <= MAX_DIMENSIONS and all(_LENGTH.fullmatch(length) for length in lengths)
    if not is_shape or lengths.count("-1") > 1:
        msg = f"shape {text[:40]!r} is none: write whole numbers with commas, rows first, of which one may be -1"
        raise unreadable(msg)
    shape = [int(length) for length in lengths]
    if -1 not in shape:
        return tuple(shape)
    rest = math.prod(length for length in shape if length != -1) * dtype.itemsize
    if not rest or size % rest:
        msg = (
            f"{size} bytes are no multiple of the {rest} that shape {text[:40]!r} of {dtype.name} takes but for the -1"
        )
        raise unreadable(msg)
    shape[shape.index(-1)] = size // rest
    return tuple(shape)
