"""Named tensors become the rows of a model.

All rows stand in one tensor `inputs`, or, where rows have named parts (the columns of a table, the channels of a
series), in a tensor for each. What an element may be is what a JSON request may hold in its place.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from app.errors import UnprocessableError
from app.ml.interfaces import Rows
from app.ml.interfaces.signature import Signature
from app.predictions.bodies import pictures
from app.predictions.protocols.open_inference.schemas import TensorMetadata
from app.predictions.protocols.open_inference.tensors import refuse
from app.predictions.schemas import MAX_INPUTS

INPUTS = "inputs"
_WHITE = 255  # the highest value of pixels that are bytes
_DIMENSIONS = {"table": "(rows, columns)", "series": "(rows, steps) or (rows, steps, channels)"}


def rows_of(arrays: dict[str, Rows], signature: Signature) -> Sequence[Any] | Rows:
    """Return the rows that a request asks about.

    Raises:
        UnprocessableError: a tensor is unknown, missing, or of another shape than the model takes.
    """
    counts = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    first, count = next(iter(counts.items()))
    for name, other in counts.items():
        if not 1 <= other <= MAX_INPUTS:
            raise refuse(name, f"its first dimension counts rows: 1 to {MAX_INPUTS} in a request, not {other}")
        if other != count:
            raise refuse(name, f"it has {other} rows, and {first[:200]!r} has {count}")
    names = names_of(signature)
    if INPUTS not in arrays or INPUTS in names:
        return _rows_by_name(arrays, signature, count)
    if len(arrays) > 1:
        other = next(name for name in arrays if name != INPUTS)
        raise refuse(other, f"{INPUTS!r} holds the rows already; send it alone, or a tensor for each name")
    return _rows_together(arrays[INPUTS], signature)


def names_of(signature: Signature) -> list[str]:
    """Return the names of tensors that a model takes besides `inputs`."""
    if signature.modality == "text":
        return list(dict.fromkeys([signature.text_column or "text", "text"]))
    if signature.modality == "image":
        return ["image"]
    return [column.name for column in signature.columns]


def input_tensors(signature: Signature) -> list[TensorMetadata]:
    """Return the tensors of the usual request."""
    columns = signature.columns
    names = [column.name for column in columns]
    if signature.modality == "text":
        return [TensorMetadata(name=INPUTS, datatype="BYTES", shape=[-1, 1])]
    if signature.image is not None:
        image = signature.image
        datatype = "UINT8" if image.highest == _WHITE else "FP32"
        return [TensorMetadata(name=INPUTS, datatype=datatype, shape=[-1, image.height, image.width, image.channels])]
    if signature.modality == "series":
        shape = [-1, -1] if len(columns) == 1 else [-1, -1, len(columns)]
        return [TensorMetadata(name=INPUTS, datatype="FP64", shape=shape, parameters={"labels": names})]
    if INPUTS not in names and all(column.type == "number" for column in columns):
        return [TensorMetadata(name=INPUTS, datatype="FP64", shape=[-1, len(names)], parameters={"labels": names})]
    return [
        TensorMetadata(name=column.name, datatype="FP64" if column.type == "number" else "BYTES", shape=[-1, 1])
        for column in columns
    ]


def _rows_together(array: Rows, signature: Signature) -> Sequence[Any] | Rows:
    """Return rows that stand in one tensor (N, ...)."""
    is_bytes = array.dtype == object
    if signature.modality == "text" or (signature.modality == "image" and is_bytes):
        if not is_bytes:
            raise refuse(INPUTS, "texts are BYTES of shape (rows, 1)")
        return _cells(INPUTS, array, as_picture=signature.modality == "image")
    if array.ndim == 1 and signature.modality in _DIMENSIONS:
        raise refuse(INPUTS, f"its shape is {list(array.shape)}; expected {_DIMENSIONS[signature.modality]}")
    if is_bytes:
        return _nested_texts(INPUTS, array)
    return array


def _rows_by_name(arrays: dict[str, Rows], signature: Signature, count: int) -> list[dict[str, Any]]:
    """Return rows whose parts stand in tensors by name."""
    names = names_of(signature)
    lists = {name for name in arrays if name not in names and f"{name}0" in names}  # e of the columns e0, e1 ...
    for name in arrays:
        if name not in names and name not in lists and name not in signature.ignored:
            raise refuse(name, f"the model has no such input{_nearest(name, [*names, INPUTS])}")
    _refuse_missing(arrays, signature, lists)
    cells = {name: _of_name(name, array, signature, name in lists) for name, array in arrays.items()}
    return [{name: values[row] for name, values in cells.items()} for row in range(count)]


def _refuse_missing(arrays: dict[str, Rows], signature: Signature, lists: set[str]) -> None:
    in_lists = re.compile("|".join(rf"{re.escape(name)}\d+" for name in lists) or r"(?!)")
    for column in signature.columns:
        is_needed = not column.may_be_missing or signature.modality == "series"
        if is_needed and column.name not in arrays and not in_lists.fullmatch(column.name):
            msg = f"input tensor {column.name[:200]!r} is missing; the model takes {_listed(names_of(signature))}"
            raise UnprocessableError(msg, code="invalid_tensor")


def _of_name(name: str, array: Rows, signature: Signature, is_list: bool) -> Sequence[Any]:
    """Return one part of each row: a cell of a table, a channel of a series, a text or a picture."""
    if signature.modality == "image" and array.dtype != object:
        return list(array)
    if signature.modality == "series" or is_list:
        if array.ndim != 2:  # noqa: PLR2004 - rows, and the numbers of each
            what = "numbers" if is_list else "steps"
            raise refuse(name, f"its shape is {list(array.shape)}; expected (rows, {what})")
        return _nested_texts(name, array) if array.dtype == object else list(array)
    return _cells(name, array, as_picture=signature.modality == "image")


def _cells(name: str, array: Rows, *, as_picture: bool = False) -> list[Any]:
    """Return the only element of each row of a tensor (N,) or (N, 1); None for NaN."""
    if array.size != len(array):
        raise refuse(name, f"its shape is {list(array.shape)}; expected (rows, 1)")
    flat = array.reshape(len(array))
    if array.dtype == object:
        return [_text(name, row, element, as_picture) for row, element in enumerate(flat)]
    return [None if value != value else value for value in flat.tolist()]  # noqa: PLR0124 - NaN


def _nested_texts(name: str, array: Rows) -> list[Any]:
    texts = np.empty(array.size, dtype=object)
    per_row = array.size // len(array)
    texts[:] = [_text(name, place // per_row, element) for place, element in enumerate(array.ravel())]
    return list(texts.reshape(array.shape).tolist())


def _text(name: str, row: int, element: str | bytes, as_picture: bool = False) -> str | bytes:
    """Return an element of BYTES as text; a picture's bytes stay."""
    if isinstance(element, str) or (as_picture and element.startswith(pictures.FORM.magic)):
        return element
    try:
        return element.decode()
    except UnicodeDecodeError:
        what = "neither a picture nor base64" if as_picture else "no UTF-8"
        raise refuse(name, f"row {row} is {what}") from None


def _nearest(name: str, names: Sequence[str]) -> str:
    nearest = get_close_matches(name, names, 1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; it takes {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:200]) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")  # noqa: PLR2004 - enough to see
