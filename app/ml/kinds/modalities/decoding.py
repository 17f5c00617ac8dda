"""Decode the inputs of a prediction, and report all that cannot be read at once."""

import math
import re
import unicodedata
from collections.abc import Callable, Container, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from app.ml.data.written_numbers import (
    BARE,
    BRACKETED,
    GROUPED_BY_COMMAS,
    GROUPED_BY_POINTS,
    is_missing_word,
    numbers_of_list,
    plain_amount,
)
from app.ml.errors import InputError, Location
from app.ml.interfaces import Rows
from app.ml.interfaces.doubts import MAX_SHOWN, Doubts
from app.ml.spec import DecimalSign, WarningCode

MAX_ERRORS = 20
# A significant leading zero (007) or digits-E-digits (12E4) make a code of a text, not a number.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*|(?=\.\d))(\.\d*)?([eE][+-]\d+)?", re.ASCII)
_ANY_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),(\d+)([eE][+-]?\d+)?", re.ASCII)
_GROUPED: dict[DecimalSign, re.Pattern[str]] = {
    "point": re.compile(rf"[+-]?{GROUPED_BY_COMMAS}(\.\d*)?", re.ASCII),
    "comma": re.compile(rf"[+-]?{GROUPED_BY_POINTS}(,\d*)?", re.ASCII),
}
_LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")
_SWAPPED = str.maketrans(",.", ".,")
_THOUSANDS = 3

Row = TypeVar("Row")


class DecodingError(Exception):
    """An input cannot be read; `loc` is the place inside that input."""

    def __init__(self, msg: str, *loc: str | int) -> None:
        super().__init__(msg)
        self.msg = msg
        self.loc: Location = loc


def decode_each(
    inputs: Sequence[Any] | Rows, decode: Callable[[Any], Row], doubts: Doubts, indices: Sequence[int] | None = None
) -> list[Row]:
    """Decode every input. Raises `InputError` with the first 20 bad ones, each by its index among all inputs."""
    rows: list[Row] = []
    errors: list[tuple[Location, str]] = []
    if not len(inputs):
        raise InputError([((), "give at least one input")])
    for index, value in zip(indices or range(len(inputs)), inputs, strict=True):
        doubts.row = index
        try:
            rows.append(decode(value))
        except DecodingError as bad:
            errors.append(((index, *bad.loc), bad.msg))
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        raise InputError(errors)
    return rows


def plain(value: Any) -> Any:
    """Return an array or a NumPy number as JSON has it, null for NaN; anything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        missing = np.isnan(value)
        return np.where(missing, None, value).tolist() if missing.any() else value.tolist()  # type: ignore[call-overload]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def with_clean_keys(row: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """Return a row with its keys as preparation writes names of columns: NFC, without blanks around or line breaks."""
    if all(key in names for key in row):
        return row
    cleaned = {_LINE_BREAKS.sub(" ", unicodedata.normalize("NFC", key).strip()): value for key, value in row.items()}
    return cleaned if len(cleaned) == len(row) else row


def ignore_keys(keys: Sequence[str], left_out: Sequence[str], known: Sequence[str], doubts: Doubts) -> None:
    """Doubt keys that are no inputs; those of the training file (`left_out`) are harmless."""
    for key in keys:
        if key in left_out or not key.strip():  # what pandas writes over the numbers of its rows
            doubts.add(WarningCode.IGNORED_KEYS, key, harmless=True)
        else:
            doubts.add(WarningCode.IGNORED_KEYS, key, f"unknown{did_you_mean(key, known)}")


def did_you_mean(key: str, known: Sequence[str]) -> str:
    """Return `; did you mean 'colour'?` where a name is close to a known one, else nothing."""
    close = get_close_matches(key, known, 1)
    return f"; did you mean {close[0][:MAX_SHOWN]!r}?" if close else ""


def only_value(
    value: Mapping[str, Any], names: Sequence[str], left_out: Sequence[str], what: str, doubts: Doubts
) -> Any:
    """Return the one value that an object holds of a row: under one of `names`, else under its only other key.

    Raises:
        DecodingError: it has no such key.
    """
    others = [key for key in value if key not in left_out]
    known = next((name for name in names if name in value), None)
    key = others[0] if known is None and len(others) == 1 else known
    if known is None and key is not None:
        doubts.add(WarningCode.OTHER_KEY, key, f"the training file's is {names[0][:MAX_SHOWN]!r}")
    if key is None:
        msg = f"an object holds the {what} under the key {names[0]!r}, and this one has no such key"
        raise DecodingError(msg)
    ignore_keys([other for other in value if other != key], left_out, names, doubts)
    return value[key]


def is_missing(text: str) -> bool:
    """Whether a text stands for a missing number, as in a file: blank, NA, NaN, null, ?"""
    stripped = text.strip()
    return not stripped or is_missing_word(stripped)


def is_listed(cell: Any, listed: Sequence[str]) -> bool:
    """Whether a cell is one of the values `listed` as missing, as a text or as a number."""
    number = number_of(cell) if isinstance(cell, str) else cell
    if isinstance(number, int | float) and not isinstance(number, bool):
        return any(number == number_of(value.strip()) for value in listed)
    return isinstance(cell, str) and cell.strip() in {value.strip() for value in listed}


def number_of(text: str, decimal: DecimalSign | None = None, sign: str | None = None) -> float | None:
    """Return the number that a text is, or None; `decimal` is the sign before the fractions of the training file.

    46,6 is 46.6 anywhere, while 1,234 may be a thousand: None where the file does not decide it. 1.234 is a thousand
    where the file has decimal commas, and 5.5 is no number of such a file and so is what a program writes.
    A `sign`, maybe an empty one, says that the file writes amounts, with it and with blanks or apostrophes in them.
    """
    text = text.strip() if sign is None else plain_amount(text.strip(), sign)
    match = _COMMA_NUMBER.fullmatch(text)
    if decimal is not None and _GROUPED[decimal].fullmatch(text):
        text = (text if decimal == "point" else text.translate(_SWAPPED)).replace(",", "")
    elif match and (decimal == "comma" or match[2] or match[4] or len(match[3]) != _THOUSANDS):
        text = text.replace(".", "").replace(",", ".")
    return float(text) if _ANY_NUMBER.fullmatch(text) else None


def as_list(value: Any) -> list[Any] | None:
    """Return a list, or the numbers of a text that is a list of them as a file has it, None where one is missing."""
    if isinstance(value, str) and (re.match(BRACKETED, value) or re.match(BARE, value)):
        return [None if math.isnan(number) else number for number in numbers_of_list(value)]
    return value if isinstance(value, list) else None


def plain_number(text: str) -> float | None:
    """Return the number that the name of a category is, or None; 007 and 12E4 are codes."""
    return float(text) if _NUMBER.fullmatch(text) else None
