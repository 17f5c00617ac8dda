"""The usual JSON body, `{"inputs": [...]}` and nothing else, read straight into an array where it is numbers alone.

What is unusual, or wrong in any way, is left to the strict reading of all JSON bodies, which says what is wrong.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import simdjson

from app.kit.json_outline import quick_outline
from app.ml.interfaces import Rows
from app.predictions.schemas import MAX_INPUTS

_MAX_DEPTH = 4  # inputs, rows, lines of pixels, channels
_CELLS = (str, int, float, bool, type(None))
_BRACKET = ord("[")
_MAX_EXACT = 2.0**53  # beyond it whole numbers would be rounded, which a category must not be
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # no JSON, though simdjson reads it
_CHEAP_BYTES = 1 << 14
_MAX_PARSED_BYTES = 4 << 20  # of values other than numbers: more would hold up the event loop
_MAX_KEPT_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 16
_UNSTORABLE = b"\\u0000"  # strict JSON refuses it


def read(body: bytes) -> Rows | list[Any] | None:
    """Return the inputs: an array float64 (N, ...), or a list of texts or of plain rows; None where it is unusual."""
    if body.startswith(_BYTE_ORDER_MARK):
        return None
    try:
        parser = _parsers.pop()
    except IndexError:
        parser = simdjson.Parser()
    try:
        inputs = _inputs(parser, body)
    except (ValueError, KeyError, RuntimeError, UnicodeDecodeError):
        inputs = None
    if len(body) <= _MAX_KEPT_BYTES and not _parsers:  # one keeps memory for the longest document that it has read
        _parsers.append(parser)
    return inputs


# One at most that no thread is using: getting its memory anew takes half as long again.
_parsers: list[simdjson.Parser] = []


def _inputs(parser: simdjson.Parser, body: bytes) -> Rows | list[Any] | None:
    document = parser.parse(body)
    inputs = document["inputs"] if isinstance(document, simdjson.Object) and len(document) == 1 else None
    if not isinstance(inputs, simdjson.Array) or not 1 <= len(inputs) <= MAX_INPUTS:
        return None
    if isinstance(inputs[0], simdjson.Array) and (numbers := _numbers(inputs, body)) is not None:
        return numbers
    is_cheap = len(body) <= _CHEAP_BYTES or quick_outline(body).parsed_bytes(body) <= _MAX_PARSED_BYTES
    return _rows(inputs) if is_cheap and _UNSTORABLE not in body else None


def _numbers(inputs: simdjson.Array, body: bytes) -> Rows | None:
    """Return lists that hold numbers alone, evenly nested, as an array; None for any others."""
    shape: list[int] = []
    level: Any = inputs
    while isinstance(level, simdjson.Array) and len(shape) < _MAX_DEPTH and len(level):
        shape.append(len(level))
        level = level[0]
    if not isinstance(level, int | float) or isinstance(level, bool) or not _is_even(inputs, shape):
        return None
    try:
        values = np.frombuffer(inputs.as_buffer(of_type="d"), np.float64)
    except (TypeError, ValueError):  # there are texts, nulls or truths among them
        return None
    # Nothing but numbers and lists is in it: with so many brackets there is no list in place of a number.
    lists = sum(math.prod(shape[:depth]) for depth in range(len(shape)))
    is_whole = _count_brackets(body) == lists and values.size == math.prod(shape)
    is_exact = is_whole and np.maximum.reduce(values) < _MAX_EXACT and np.minimum.reduce(values) > -_MAX_EXACT
    return values.reshape(shape) if is_exact else None


def _count_brackets(body: bytes) -> int:
    characters = np.frombuffer(body, np.uint8)
    blocks = range(0, len(characters), _BLOCK_BYTES)  # small ones: memory that is taken anew costs more than counting
    return sum(int(np.count_nonzero(characters[start : start + _BLOCK_BYTES] == _BRACKET)) for start in blocks)


def _is_even(inputs: Iterable[Any], shape: list[int]) -> bool:
    """Whether the lists at every level have the lengths of `shape`."""
    if len(shape) == 1:
        return True
    return all(
        isinstance(item, simdjson.Array) and len(item) == shape[1] and _is_even(item, shape[1:]) for item in inputs
    )


def _rows(inputs: simdjson.Array) -> list[Any] | None:
    """Return texts, or rows of plain cells; None where a cell is none, or a key stands twice."""
    rows = []
    for item in inputs:
        row: Any = item
        if isinstance(item, simdjson.Object):
            row = item.as_dict()
            if len(row) != len(item) or not all(_is_plain(cell) for cell in row.values()):
                return None
        elif isinstance(item, simdjson.Array):
            row = item.as_list()
            if not all(_is_plain(cell) for cell in row):
                return None
        elif not isinstance(item, str):
            return None
        rows.append(row)
    return rows


def _is_plain(cell: Any) -> bool:
    """Whether a cell is a value, or a list of values such as a step of a series."""
    return isinstance(cell, _CELLS) or (isinstance(cell, list) and all(isinstance(item, _CELLS) for item in cell))
