"""JSON values as columns, collected row by row, and as series."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from app.datasets.frames import Column, Floats, LabelsColumn, NumberColumn, TextColumn
from app.datasets.frames.spill import spill

Kind = Literal["number", "boolean", "text", "labels"]
KIND_NAMES: dict[Kind, str] = {
    "number": "numbers",
    "boolean": "true and false",
    "text": "text",
    "labels": "lists of labels",
}

_ARROW_TYPES: dict[Kind | None, Any] = {"text": pa.string(), "labels": pa.list_(pa.string())}


@dataclass(frozen=True, slots=True)
class ColumnPart:
    """What the rows of a part hold in a column: the kind of the values, if any, and what `JsonColumn` says of them."""

    kind: Kind | None = None
    whole: bool = True
    blank: bool = True


NO_VALUES = ColumnPart()


class JsonColumn:
    """A column that is collected row by row: values are kept in a list until they are packed into an array."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.kind: Kind | None = None
        self.whole = True
        self.blank = True  # only null and empty lists so far, so that any kind of list may follow
        self._checked: set[type] = {type(None)}  # of values here: others of such a type change nothing of the above
        self._unpacked: list[Any] = []
        self._packed: list[Any] = []

    def add(self, value: Any) -> str | None:
        """Add the value of the next row, or return why it does not fit."""
        if type(value) not in self._checked:
            problem = self._check(value)
            if problem is not None:
                return problem
        self._unpacked.append(value)
        return None

    def _check(self, value: Any) -> str | None:
        """Note what kind a value is of, or return why it does not fit."""
        kind = _kind(value)
        if kind is None:
            what = "an object"
            if isinstance(value, list):
                what = "a list that is neither labels nor a series, of which a row has one"
            return f"holds {what}; give each value a key of its own"
        if self.kind is not None and self.kind != kind:
            return f"holds {KIND_NAMES[kind]} and rows before hold {KIND_NAMES[self.kind]}; make them alike"
        self.kind = kind
        self.blank &= value == []
        self.whole &= not isinstance(value, float)
        if kind != "labels":  # of which each is looked at
            self._checked.add(type(value))
        return None

    def pack(self, scratch: Path) -> None:
        """Pack the values since the last call, if any, into an array."""
        if not self._unpacked:
            return
        if self.kind in _ARROW_TYPES:
            self._packed.append(spill(pa.array(self._unpacked, _ARROW_TYPES[self.kind]), scratch))
        elif self.kind is None:
            self.start += len(self._unpacked)
        else:
            self._packed.append(_numbers(self._unpacked))
        self._unpacked = []

    def part(self) -> ColumnPart:
        """Return what the rows so far hold, so that they can follow others by `append`."""
        return ColumnPart(self.kind, self.whole, self.blank)

    def packed(self) -> Any:
        """Return all rows, once they are packed, as one Arrow array: NaN or null is missing."""
        if self.kind is None:
            return pa.nulls(self.start)
        arrays = [_missing(self.kind, self.start), *self._packed]
        return pa.concat_arrays(arrays) if self.kind in _ARROW_TYPES else pa.array(np.concatenate(arrays))

    def may_precede(self, part: ColumnPart) -> bool:
        """Return whether values of one kind are here and in rows that follow."""
        return self.kind is None or part.kind in {None, self.kind}

    def append(self, part: ColumnPart, values: Any) -> None:
        """Add the rows of a part, an Arrow array as `packed` returns it, once all rows before are packed."""
        self.kind = self.kind or part.kind
        self.whole &= part.whole
        self.blank &= part.blank
        if self.kind is None:
            self.start += len(values)
        elif part.kind is None:
            self._packed.append(_missing(self.kind, len(values)))
        else:
            self._packed.append(values if self.kind in _ARROW_TYPES else values.to_numpy())

    def finish(self, name: str) -> Column:
        """Return the column, once all values are packed; rows before its first value are missing."""
        arrays = [_missing(self.kind, self.start), *self._packed]
        if self.kind in _ARROW_TYPES:
            values = pa.chunked_array(arrays, _ARROW_TYPES[self.kind])
            return TextColumn(name, values, typed=True) if self.kind == "text" else LabelsColumn(name, values)
        whole, boolean = self.kind is not None and self.whole, self.kind == "boolean"
        return NumberColumn(name, np.concatenate(arrays), whole=whole, boolean=boolean)


def _missing(kind: Kind | None, count: int) -> Any:
    """Return `count` rows without a value, as `JsonColumn` packs them."""
    return pa.nulls(count, _ARROW_TYPES[kind]) if kind in _ARROW_TYPES else np.full(count, np.nan)


def channel_names(name: str | None, count: int) -> tuple[str, ...]:
    """Return the names of the channels of series: the column's name, numbered where there are several."""
    if name is not None and count == 1:
        return (name,)
    return tuple(f"{name or 'x'}{channel}" for channel in range(count))


def to_series(value: Any) -> Floats:
    """Return a list of numbers, or of lists of them, as an array (steps, channels), null as NaN.

    Raises:
        ValueError: the value is no series; the message continues "the series ...".
    """
    if not isinstance(value, list):
        msg = "is no list; write a list of numbers, or a list of such lists"
        raise ValueError(msg)  # noqa: TRY004 - a fault of the file, not of the caller
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
    return _numbers(flat).reshape(len(value), width)


def _kind(value: Any) -> Kind | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if is_labels(value):
        return "labels"
    return "text" if isinstance(value, str) else None


def is_labels(value: Any) -> bool:
    """Return whether a value is a list of texts, maybe an empty one."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _numbers(values: list[Any]) -> Floats:
    """Return JSON numbers as float64 (n,); those beyond its range are infinite, null is NaN."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return np.array(list(map(_number, values)), dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
