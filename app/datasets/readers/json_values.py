"""Values of JSON: columns that grow row by row, and lists that are series."""

from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from app.datasets.frames import Column, Floats, LabelsColumn, NumberColumn, TextColumn
from app.datasets.readers.spill import spill

Kind = Literal["number", "boolean", "text", "labels"]
WORDS: dict[Kind, str] = {
    "number": "numbers",
    "boolean": "true and false",
    "text": "text",
    "labels": "lists of labels",
}


_ARROW: dict[Kind | None, Any] = {"text": pa.string(), "labels": pa.list_(pa.string())}


class JsonColumn:
    """One column on its way: values wait in a list until enough are there to be packed."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.kind: Kind | None = None
        self.whole = True
        self.blank = True  # whether there was nothing yet but null and empty lists, which any list may follow
        self._waiting: list[Any] = []
        self._packed: list[Any] = []

    def add(self, value: Any) -> str | None:
        """Take the next row's value, or say why it does not fit."""
        if value is not None:
            kind = _kind(value)
            if kind is None:
                what = "an object" if isinstance(value, dict) else "a list that is neither labels nor a series"
                return f"holds {what}; give each value a key of its own"
            if self.kind is not None and self.kind != kind:
                return f"holds {WORDS[kind]} and rows before hold {WORDS[self.kind]}; make them alike"
            self.kind = kind
            self.blank &= value == []
            self.whole &= not isinstance(value, float)
        self._waiting.append(value)
        return None

    def pack(self, work: Path) -> None:
        """Turn waiting values into an array."""
        if self.kind in _ARROW:
            self._packed.append(spill(pa.array(self._waiting, _ARROW[self.kind]), work))
        elif self.kind is None:
            self.start += len(self._waiting)
        else:
            self._packed.append(np.array(list(map(_number, self._waiting)), dtype=np.float64))
        self._waiting = []

    def finish(self, name: str) -> Column:
        """Return the column, once all is packed; rows before its first value lack it."""
        if self.kind in _ARROW:
            kind = _ARROW[self.kind]
            values = pa.chunked_array([pa.nulls(self.start, kind), *self._packed], kind)
            return TextColumn(name, values, typed=True) if self.kind == "text" else LabelsColumn(name, values)
        numbers = np.concatenate([np.full(self.start, np.nan), *self._packed])
        boolean = self.kind == "boolean"
        return NumberColumn(name, numbers, whole=self.kind is not None and self.whole, boolean=boolean)


def channel_names(name: str | None, count: int) -> tuple[str, ...]:
    """Return the names of a series' channels: the column's name, numbered where there are several."""
    if name is not None and count == 1:
        return (name,)
    return tuple(f"{name or 'x'}{channel}" for channel in range(count))


def to_series(value: Any) -> Floats:
    """Return a list of numbers, or of lists of them, as (steps, channels), null as NaN.

    Raises:
        ValueError: what is wrong with it, to follow the words "the series".
    """
    if not isinstance(value, list):
        msg = "is no list; write a list of numbers, or a list of such lists"
        raise ValueError(msg)  # noqa: TRY004 - the value is at fault, whoever sent it
    nested = [isinstance(step, list) for step in value]
    if any(nested) and not all(nested):
        msg = "mixes numbers and lists; a step is a number, or a list with a number for each channel"
        raise ValueError(msg)
    width = len(value[0]) if any(nested) else 1
    if any(nested) and any(len(step) != width for step in value):
        msg = f"has steps of {width} and of other numbers of channels; give every channel in every step"
        raise ValueError(msg)
    flat = list(chain.from_iterable(value)) if any(nested) else value
    if not all(item is None or type(item) in {int, float} for item in flat):
        msg = "holds something that is neither a number nor null; correct it"
        raise ValueError(msg)
    return np.array(list(map(_number, flat)), dtype=np.float64).reshape(len(value), width)


def _kind(value: Any) -> Kind | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if is_labels(value):
        return "labels"
    return "text" if isinstance(value, str) else None


def is_labels(value: Any) -> bool:
    """Whether a value is a list of texts, or of nothing yet."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _number(value: Any) -> float:
    """Return a JSON number as float64; one beyond its range is infinite, null is NaN."""
    if value is None:
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
