"""Tensors as they are sent, and as arrays.

JSON holds elements in row-major order, flat or nested. Binary, the bytes of all tensors follow the JSON in order:
little-endian elements, and of BYTES each element after its length as uint32. Header `Inference-Header-Content-Length`
is the length of the JSON.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.errors import UnprocessableError
from app.ml.interfaces import Rows
from app.predictions.protocols.open_inference.schemas import InputTensor

DATATYPES: dict[str, str] = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "BF16": "<u2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O",
}  # fmt: skip
_HEADER = struct.Struct("<I")


def refuse(name: str, msg: str) -> UnprocessableError:
    """Return the error for an input tensor."""
    return UnprocessableError(f"input tensor {name[:200]!r}: {msg}", code="invalid_tensor")


def arrays_of(tensors: Sequence[InputTensor], content: memoryview, *, has_content: bool) -> dict[str, Rows]:
    """Return the arrays of a request by name; `content` is what follows its JSON.

    Raises:
        UnprocessableError: a tensor does not hold what it says.
    """
    arrays: dict[str, Rows] = {}
    for tensor in tensors:
        if tensor.name in arrays:
            raise refuse(tensor.name, "it stands twice")
        for key in tensor.parameters:
            if key not in ("binary_data_size", "content_type"):
                raise refuse(tensor.name, f"there is no parameter {key[:100]!r}; there is binary_data_size")
        if tensor.datatype not in DATATYPES:
            raise refuse(tensor.name, f"its datatype is none of {', '.join(DATATYPES)}")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            arrays[tensor.name] = _from_json(tensor)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(content):
            more = (
                "" if has_content else ": send the header Inference-Header-Content-Length with the length of the JSON"
            )
            msg = f"binary_data_size is {str(size)[:20]}, and {len(content)} bytes follow the JSON and other tensors"
            raise refuse(tensor.name, msg + more)
        arrays[tensor.name] = _from_bytes(tensor, content[:size])
        content = content[size:]
    if content:
        msg = f"{len(content)} bytes follow the last tensor; every binary tensor says its binary_data_size"
        raise UnprocessableError(msg, code="invalid_tensor")
    return arrays


def _from_json(tensor: InputTensor) -> Rows:
    if tensor.data is None:
        raise refuse(tensor.name, "it has neither data nor a parameter binary_data_size")
    if tensor.datatype == "BF16":
        raise refuse(tensor.name, "BF16 is sent as bytes: give binary_data_size, or send FP32")
    flat: list[Any] = []
    _flatten(tensor, tensor.data, tensor.shape, flat)
    if len(flat) != math.prod(tensor.shape):
        msg = f"data has {len(flat)} elements, and the shape {tensor.shape} {math.prod(tensor.shape)}"
        raise refuse(tensor.name, msg)
    _check_elements(tensor, flat)
    try:
        array = np.empty(len(flat), dtype=DATATYPES[tensor.datatype])
        with np.errstate(over="ignore"):  # what is not finite the model refuses, row by row
            array[:] = flat
    except (OverflowError, TypeError, ValueError):
        msg = f"data holds a number that is no {tensor.datatype}"
        raise refuse(tensor.name, msg) from None
    return array.reshape(tensor.shape)


def _flatten(tensor: InputTensor, data: list[Any], shape: Sequence[int], flat: list[Any]) -> None:
    """Append the elements of a list, flat or nested as `shape` says."""
    if not any(isinstance(item, list) for item in data):
        flat += data
        return
    if not shape[1:] or len(data) != shape[0] or not all(isinstance(item, list) for item in data):
        raise refuse(tensor.name, f"data is not nested as the shape {tensor.shape} says")
    for item in data:
        if not any(isinstance(element, list) for element in item) and len(item) != math.prod(shape[1:]):
            raise refuse(tensor.name, f"data is not nested as the shape {tensor.shape} says")
        _flatten(tensor, item, shape[1:], flat)


_TYPES: dict[str, tuple[set[type], str]] = {
    "?": ({bool}, "true or false"),
    "u": ({int}, "whole numbers"),
    "i": ({int}, "whole numbers"),
    "f": ({int, float, type(None)}, "numbers, or null for a missing one"),
    "O": ({str}, "strings"),
}


def _check_elements(tensor: InputTensor, flat: list[Any]) -> None:
    types, words = _TYPES[DATATYPES[tensor.datatype].strip("<")[0]]
    if not types.issuperset(map(type, flat)):
        place = next(place for place, item in enumerate(flat) if type(item) not in types)
        raise refuse(tensor.name, f"element {place} of data is no {tensor.datatype}: use {words}")


def _from_bytes(tensor: InputTensor, content: memoryview) -> Rows:
    if tensor.data is not None:
        raise refuse(tensor.name, "it has data and binary_data_size; send one of them")
    count = math.prod(tensor.shape)
    if tensor.datatype == "BYTES":
        return _texts_from(tensor, content, count).reshape(tensor.shape)
    dtype = np.dtype(DATATYPES[tensor.datatype])
    if len(content) != count * dtype.itemsize:
        expected = f"{count * dtype.itemsize} bytes of {tensor.datatype}"
        raise refuse(tensor.name, f"binary_data_size is {len(content)}, and the shape {tensor.shape} has {expected}")
    array = np.frombuffer(content, dtype)
    if tensor.datatype == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(tensor.shape)


def _texts_from(tensor: InputTensor, content: memoryview, count: int) -> Rows:
    """Return the elements of a BYTES tensor, object (count,) of bytes."""
    elements: list[bytes] = []
    start = 0
    while start + _HEADER.size <= len(content) and len(elements) < count:
        (length,) = _HEADER.unpack_from(content, start)
        start += _HEADER.size
        elements.append(bytes(content[start : start + length]))
        start += length
    if start != len(content) or len(elements) != count:
        msg = f"its bytes are not {count} elements, each after its length as a little-endian uint32"
        raise refuse(tensor.name, msg)
    array = np.empty(count, dtype=object)
    array[:] = elements
    return array


def elements_of(array: Rows) -> list[Any]:
    """Return the elements of an array in row-major order, as JSON has them; bytes are UTF-8."""
    return array.ravel().tolist()


def bytes_of(array: Rows) -> bytes:
    """Return the elements of an array as they are sent; those of BYTES are texts."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    encoded = [text.encode() for text in array.ravel()]
    return b"".join(_HEADER.pack(len(element)) + element for element in encoded)
