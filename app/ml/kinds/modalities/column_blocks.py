"""All columns of one type together: stored rows float64 (N, D) to encoded rows float32 (N, D'), one pass for each type.

A block knows of each of its d columns the place in a stored row, and the place of its first feature in an encoded one.
What the features of a column are, `columns.py` says.
"""

import math
from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.ml.data.date_parts import PLACES
from app.ml.interfaces import Rows
from app.ml.kinds.modalities.column_kinds import AnyColumn, cells_at
from app.ml.kinds.modalities.columns import CategoryColumn, DateColumn, NumberColumn
from app.ml.kinds.modalities.text_column import TextColumn

MAX_DEVIATIONS = 1e4  # beyond it a squared error in float32 would drown every other column
Places = slice | NDArray[np.intp]


class Block(Protocol):
    """Columns of one type."""

    def encode(self, inputs: Rows, encoded: Rows) -> None:
        """Write the features of stored rows (N, D) into encoded ones (N, D'), which are zeros."""


def blocks_of(columns: Sequence[AnyColumn]) -> list[Block]:
    """Return the blocks of the columns of a table."""
    starts = list(accumulate((column.width for column in columns), initial=0))
    placed = [(column, place, starts[place]) for place, column in enumerate(columns)]
    numbers = [(column, *places) for column, *places in placed if isinstance(column, NumberColumn)]
    categories = [(column, *places) for column, *places in placed if isinstance(column, CategoryColumn)]
    dates: dict[Hashable, list[tuple[DateColumn, int, int]]] = {}
    for column, place, start in placed:
        if isinstance(column, DateColumn):
            dates.setdefault(column.cycles, []).append((column, place, start))
    texts = [(column, place, start) for column, place, start in placed if isinstance(column, TextColumn)]
    blocks = ((_Numbers, numbers), (_Categories, categories))
    words = [
        _Words(column, place, start, cells_at(len(columns), number))
        for number, (column, place, start) in enumerate(texts)
    ]
    of_dates = [_Dates(*zip(*alike, strict=True)) for alike in dates.values()]
    return [*(block(*zip(*chosen, strict=True)) for block, chosen in blocks if chosen), *of_dates, *words]


class _Missing:
    """The feature of missing values, of those columns that have one; it is a column's last."""

    def __init__(self, columns: Sequence[AnyColumn], starts: Sequence[int]) -> None:
        chosen = [index for index, column in enumerate(columns) if column.had_missing]
        self._columns = _places(chosen)
        self._features = _places([starts[index] + columns[index].width - 1 for index in chosen])
        self._any = bool(chosen)

    def encode(self, missing: NDArray[np.bool_], encoded: Rows) -> None:
        """Mark what is missing of these columns, (N, d)."""
        if self._any:
            encoded[:, self._features] = missing[:, self._columns]


class _Standardised:
    """Numbers less their mean, by their deviation, within +-10,000; NaN as 0."""

    def __init__(self, columns: Sequence[NumberColumn | DateColumn]) -> None:
        self._mean = np.array([column.mean for column in columns])
        self._std = np.array([column.std for column in columns])

    def __call__(self, values: Rows, missing: NDArray[np.bool_]) -> Rows:
        scaled: Rows = values - self._mean  # in place from here on: memory costs more than arithmetic
        scaled /= self._std
        np.maximum(scaled, -MAX_DEVIATIONS, out=scaled)
        np.minimum(scaled, MAX_DEVIATIONS, out=scaled)
        scaled[missing] = 0
        return scaled


class _Numbers:
    def __init__(self, columns: Sequence[NumberColumn], places: Sequence[int], starts: Sequence[int]) -> None:
        self._places, self._starts = _places(places), _places(starts)
        self._standardised = _Standardised(columns)
        self._missing = _Missing(columns, starts)

    def encode(self, inputs: Rows, encoded: Rows) -> None:
        values = inputs[:, self._places].astype(np.float64, copy=False)
        missing = np.isnan(values)
        encoded[:, self._starts] = self._standardised(values, missing)
        self._missing.encode(missing, encoded)


class _Categories:
    """One-hot. The codes of all columns are counted on: `_offsets` is where those of each column begin in `_seen`."""

    def __init__(self, columns: Sequence[CategoryColumn], places: Sequence[int], starts: Sequence[int]) -> None:
        self._places, self._starts = _places(places), np.array(starts)
        self._counts = np.array([len(column.categories) for column in columns])
        self._offsets = np.concatenate(([0], np.cumsum(self._counts)[:-1]))
        self._seen = np.ones(max(1, self._counts.sum()), dtype=bool)
        for column, offset in zip(columns, self._offsets, strict=True):
            self._seen[[offset + code for code in column.unseen]] = False
        self._missing = _Missing(columns, starts)

    def encode(self, inputs: Rows, encoded: Rows) -> None:
        values = inputs[:, self._places]
        known = (values >= 0) & (values < self._counts)  # NaN compares false
        codes = np.where(known, values, 0).astype(np.int64)
        known &= self._seen[np.where(known, codes + self._offsets, 0)]
        rows, columns = np.nonzero(known)
        encoded[rows, self._starts[columns] + codes[rows, columns]] = 1
        self._missing.encode(~known, encoded)


class _Dates:
    """Dates whose features are of the same places in periods."""

    def __init__(self, columns: Sequence[DateColumn], places: Sequence[int], starts: Sequence[int]) -> None:
        self._places = _places(places)
        self._cycles = columns[0].cycles
        self._features = [
            _places([start + feature for start in starts]) for feature in range(1 + 2 * len(self._cycles))
        ]
        self._standardised = _Standardised(columns)
        self._missing = _Missing(columns, starts)

    def encode(self, inputs: Rows, encoded: Rows) -> None:
        values = inputs[:, self._places].astype(np.float64, copy=False)
        missing = np.isnan(values)
        features = [self._standardised(values, missing)]
        of_name = {name: PLACES[name](values, np.floor) for name, _ in self._cycles}
        for name, harmonic in self._cycles:
            angle = 2 * math.pi * harmonic * of_name[name]
            features += [np.sin(angle), np.cos(angle)]
        for places, feature in zip(self._features, features, strict=True):
            encoded[:, places] = np.where(missing, 0, feature)
        self._missing.encode(missing, encoded)


class _Words:
    def __init__(self, column: TextColumn, place: int, start: int, cells: slice) -> None:
        self._words, self._place, self._cells = column.words, place, cells
        self._features = slice(start, start + column.dimensions)
        self._missing = _Missing([column], [start])

    def encode(self, inputs: Rows, encoded: Rows) -> None:
        missing = np.isnan(inputs[:, [self._place]])
        encoded[:, self._features] = np.where(missing, 0, self._words(inputs[:, self._cells]))
        self._missing.encode(missing, encoded)


def _places(indices: Sequence[int]) -> Places:
    """Return indices as a slice where they count up: a slice is a view, a list of indices a copy."""
    if indices and list(indices) == list(range(indices[0], indices[0] + len(indices))):
        return slice(indices[0], indices[0] + len(indices))
    return np.array(indices, dtype=np.intp)
