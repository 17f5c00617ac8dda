"""Decode the JSON inputs of a prediction, and report all that cannot be read at once."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from app.ml.errors import InputError, Location

MAX_ERRORS = 20

Row = TypeVar("Row")


class DecodingError(Exception):
    """An input cannot be read; `loc` is the place inside that input."""

    def __init__(self, msg: str, *loc: str | int) -> None:
        super().__init__(msg)
        self.msg = msg
        self.loc: Location = loc


def decode_each(inputs: Sequence[Any], decode: Callable[[Any], Row]) -> list[Row]:
    """Decode every input. Raises `InputError` with the first 20 bad ones, each by its index."""
    rows: list[Row] = []
    errors: list[tuple[Location, str]] = []
    if not inputs:
        raise InputError([((), "give at least one input")])
    for index, value in enumerate(inputs):
        try:
            rows.append(decode(value))
        except DecodingError as bad:
            errors.append(((index, *bad.loc), bad.msg))
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        raise InputError(errors)
    return rows
