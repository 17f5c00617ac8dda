"""Rows of a table as JSON has them, to stored rows float64 (N, D).

`RowReader` says what a row may hold. `SoundRows` reads those rows as one block that hold nothing but numbers, known
categories and dates in place, which nearly all do, and leaves the others to the reader.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.interfaces import Rows
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.column_kinds import AnyColumn
from app.ml.kinds.modalities.columns import MAX_NUMBER, CategoryColumn, DateColumn, NumberColumn
from app.ml.kinds.modalities.decoding import (
    DecodingError,
    as_list,
    ignore_keys,
    is_listed,
    number_of,
    plain,
    with_clean_keys,
)
from app.ml.kinds.modalities.text_column import TextColumn, word_cells

_GENERATED = re.compile(r"x\d+", re.ASCII)  # names of the columns of files without a header
_NO_WORDS = np.empty(0)
_NUMBERS = frozenset({int, float, type(None)})
Sound = NDArray[np.bool_]


class SoundRows:
    """Reads rows whose every cell is sound, a column at a time."""

    def __init__(self, columns: Sequence[AnyColumn], missing_values: Sequence[str]) -> None:
        self._width = len(columns)
        self._names = _getter([column.name for column in columns])
        numbers = [(place, column) for place, column in enumerate(columns) if isinstance(column, NumberColumn)]
        self._numbers = _SoundNumbers([column for _, column in numbers], missing_values)
        self._number_places = np.array([place for place, _ in numbers], dtype=np.intp)
        self._number_cells = _getter(self._number_places.tolist()) if len(numbers) < len(columns) else list
        self._others = [
            (place, _sound_column(column, missing_values))
            for place, column in enumerate(columns)
            if not isinstance(column, NumberColumn)
        ]

    def read(self, inputs: Sequence[Any] | Rows) -> tuple[Rows, Sound]:
        """Return stored rows (N, D) of N inputs, and which of them are sound (N,); the others' values mean nothing."""
        if isinstance(inputs, np.ndarray):
            return self._read_array(inputs)
        cells = [self._cells(value) for value in inputs]
        sound = np.array([row is not None for row in cells], dtype=bool)
        stored = np.full((len(cells), self._width), np.nan)
        chosen = np.flatnonzero(sound)
        rows = [row for row in cells if row is not None]
        if rows and len(self._number_places):
            stored[np.ix_(chosen, self._number_places)], sound[chosen] = self._numbers.read(
                [self._number_cells(row) for row in rows]
            )
        for place, column in self._others:
            stored[chosen, place], is_sound = column.read([row[place] for row in rows])
            sound[chosen] &= is_sound
        return stored, sound

    def _read_array(self, inputs: Rows) -> tuple[Rows, Sound]:
        """Read numbers (N, D) of a table of numbers; of other arrays and tables no row is sound."""
        if self._others or inputs.dtype.kind not in "iuf" or inputs.shape[1:] != (self._width,):
            return np.full((len(inputs), self._width), np.nan), np.zeros(len(inputs), dtype=bool)
        values = np.asarray(inputs, np.float64)
        return values, self._numbers.are_sound(values)

    def _cells(self, value: Any) -> Sequence[Any] | None:
        """Return the cells of a row in the order of the columns; None where it is no plain row."""
        if type(value) is list:
            return value if len(value) == self._width else None
        if type(value) is dict and len(value) == self._width:
            try:
                return self._names(value)
            except KeyError:
                return None
        return None


class _SoundNumbers:
    def __init__(self, columns: Sequence[NumberColumn], missing_values: Sequence[str]) -> None:
        bounds = [(-MAX_NUMBER, MAX_NUMBER) if column.range is None else column.range.near for column in columns]
        self._low = np.array([max(low, -MAX_NUMBER) for low, _ in bounds])
        self._high = np.array([min(high, MAX_NUMBER) for _, high in bounds])
        self._may_be_missing = np.array([column.may_be_missing for column in columns], dtype=bool)
        self._any_may_be_missing = bool(self._may_be_missing.any())
        listed = (number_of(value) for value in missing_values)
        self._listed = [number for number in listed if number is not None]

    def read(self, rows: Sequence[Sequence[Any]]) -> tuple[Rows, Sound]:
        """Read the cells of number columns, (n, d)."""
        plain_rows = [_NUMBERS.issuperset(map(type, row)) for row in rows]
        try:
            values = np.array(
                [row if is_plain else (None,) * len(row) for row, is_plain in zip(rows, plain_rows, strict=True)],
                np.float64,
            )
        except OverflowError:  # a whole number of hundreds of digits
            return np.full((len(rows), len(self._low)), np.nan), np.zeros(len(rows), dtype=bool)
        sound = self.are_sound(values)
        sound[~np.array(plain_rows, dtype=bool)] = False
        for row in np.flatnonzero(np.isnan(values).any(axis=1) & sound).tolist():
            sound[row] = rows[row].count(None) == np.isnan(values[row]).sum()  # NaN itself is no number of JSON
        return values, sound

    def are_sound(self, values: Rows) -> Sound:
        """Tell which rows of numbers (n, d), NaN = missing, hold nothing doubtful."""
        near = (values >= self._low) & (values <= self._high)
        if self._any_may_be_missing:
            near |= np.isnan(values) & self._may_be_missing
        if self._listed:
            near &= ~np.isin(values, self._listed)
        return np.asarray(near.all(axis=1), dtype=bool)


class _SoundCategories:
    def __init__(self, column: CategoryColumn, missing_values: Sequence[str]) -> None:
        self._codes: dict[Any, float] = {
            name: float(code)
            for code, name in enumerate(column.categories)
            if code not in column.unseen and not is_listed(name, missing_values)
        }
        if column.may_be_missing:
            self._codes[None] = np.nan

    def read(self, cells: Sequence[Any]) -> tuple[Rows, Sound]:
        """Read the cells of the column, (n,)."""
        codes = [self._codes.get(cell, -1.0) if isinstance(cell, str) or cell is None else -1.0 for cell in cells]
        values = np.array(codes, dtype=np.float64)
        return values, values != -1


class _SoundDates:
    def __init__(self, column: DateColumn, missing_values: Sequence[str]) -> None:
        self._column = column
        self._missing_values = missing_values

    def read(self, cells: Sequence[Any]) -> tuple[Rows, Sound]:
        """Read the cells of the column, (n,)."""
        values = np.array([self._read(cell) for cell in cells], dtype=np.float64)
        return values, ~np.isnan(values)

    def _read(self, cell: Any) -> float:
        if not isinstance(cell, str) or is_listed(cell, self._missing_values):
            return np.nan
        doubts = Doubts()
        try:
            day = self._column.decode(cell, doubts)
        except DecodingError:
            return np.nan
        return np.nan if doubts.any else day


def _sound_column(column: AnyColumn, missing_values: Sequence[str]) -> "_SoundCategories | _SoundDates":
    if isinstance(column, CategoryColumn):
        return _SoundCategories(column, missing_values)
    assert isinstance(column, DateColumn), "rows with texts are read one by one"
    return _SoundDates(column, missing_values)


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that gets the values under several keys as a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda row: tuple(row[key] for key in keys)


@dataclass
class RowReader:
    """Reads the rows of one request cell by cell: the definition of what a row may hold, with its errors and doubts."""

    columns: tuple[AnyColumn, ...]
    left_out: tuple[str, ...]
    missing_values: tuple[str, ...]
    doubts: Doubts

    def read(self, value: Any) -> list[float]:
        """Read one row."""
        cells = self._cells(plain(value))
        if self.missing_values:
            cells = [None if is_listed(cell, self.missing_values) else cell for cell in cells]
        pairs = list(zip(self.columns, cells, strict=True))
        words = [word_cells(cell) for column, cell in pairs if isinstance(column, TextColumn)]
        return [*(column.decode(cell, self.doubts) for column, cell in pairs), *np.concatenate([*words, _NO_WORDS])]

    def _cells(self, value: Any) -> list[Any]:
        columns = self.columns
        if isinstance(value, list):
            if len(value) == len(columns):
                return value
            msg = f"{len(value)} values are given; expected {len(columns)}: {_some([c.name for c in columns])}"
            raise DecodingError(msg)
        if isinstance(value, dict):
            value = self._with_lists_spread(with_clean_keys(value, {column.name for column in columns}))
            unused = self._unused_keys(value)
            if unused:
                ignore_keys(unused, self.left_out, [column.name for column in columns], self.doubts)
            return [value.get(column.name) for column in columns]
        msg = "a row is a list of values in column order or an object of column and value"
        raise DecodingError(msg)

    def _with_lists_spread(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with emb0, emb1 ... in place of a list under emb, where those are the columns.

        Raises:
            DecodingError: the list has another length.
        """
        names = {*(column.name for column in self.columns), *self.left_out}
        lists = [key for key in row if key not in names and f"{key}0" in names and f"{key}0" not in row]
        if not lists:
            return row
        spread = {key: value for key, value in row.items() if key not in lists}
        for key in lists:
            items = [] if row[key] is None else as_list(plain(row[key]))
            width = next(place for place in count() if f"{key}{place}" not in names)
            if items is None or len(items) not in {0, width}:
                what = "no list of numbers" if items is None else f"a list of {len(items)} numbers"
                msg = f"{what} is given, and each training row had {width}"
                raise DecodingError(msg, key)
            spread |= {f"{key}{place}": item for place, item in enumerate(items)}
        return spread

    def _unused_keys(self, row: dict[str, Any]) -> list[str]:
        """Return the keys that are no columns.

        Raises:
            DecodingError: columns that no train row lacked have no key, and nothing says that they are missing: no key
                is a column's, or others are unknown, which may be misspelt.
        """
        names = {column.name for column in self.columns}
        unused = [key for key in row if key not in names]
        unknown = [key for key in unused if key.strip() and key not in self.left_out]
        missing = [c.name for c in self.columns if c.name not in row and not c.may_be_missing]
        if missing and (unknown or len(unused) == len(row)):
            problems = [f"unknown: {_some(unknown)}"] if unknown else []
            msg = f"the keys do not match the columns; {'; '.join([*problems, f'missing: {_some(missing)}'])}"
            if any(_GENERATED.fullmatch(name) for name in missing):
                msg += "; the training file had no header: name its columns x0, x1, ... in their order"
            elif unknown:
                msg += "; send null where a value is missing"
            raise DecodingError(msg)
        return unused


def _some(names: Sequence[Any]) -> str:
    listed = ", ".join(repr(str(name)[:40]) for name in names[:5])
    return listed if len(names) <= 5 else f"{listed} and {len(names) - 5} more"  # noqa: PLR2004 - enough to see
