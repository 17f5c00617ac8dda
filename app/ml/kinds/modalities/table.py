"""Rows of numbers, categories and dates, standardised by the train split.

Stored as float64 (N, D), by earlier releases as float32: categories as codes, dates as days since 1970-01-01, NaN =
missing; what each column becomes in the encoded float32 (N, D'), `columns.py` says. JSON inputs are lists of D values
in column order or objects {column: value}, as a row of the training file is: other keys are ignored, a key that is not
there is a missing value where training had some, and texts are read by the column's type. true, True, 1, 1.0 and "1"
mean the category that is written in one of these ways. A date is ISO 8601 text, or a number of days.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from app.ml.data.chunks import as_rows, each_block, rows_per_read
from app.ml.fields import Integer
from app.ml.interfaces import Encoding, Modality, Rows, Shape, StoredRows
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.modality import UnknownValues
from app.ml.interfaces.signature import Signature
from app.ml.kinds.modalities.columns import AnyColumn, CategoryColumn, fit_columns
from app.ml.kinds.modalities.decoding import (
    DecodingError,
    as_list,
    decode_each,
    ignore_keys,
    is_listed,
    plain,
    with_clean_keys,
)
from app.ml.kinds.modalities.ranges import Bounds
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.spec import ColumnSpec, DataSpec

_USUAL = TablePreprocessing()
_GENERATED = re.compile(r"x\d+", re.ASCII)  # names of the columns of files without a header


class TableModality(Modality):
    """Rows of named columns."""

    kind: Literal["table"] = "table"
    bounded: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    columns: tuple[AnyColumn, ...] = Field(min_length=1, description="The columns in order, with what was learned.")
    missing_values: tuple[str, ...] = Field((), description="What means a missing value, as null does; as in training.")

    @classmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: TablePreprocessing = _USUAL) -> Self:  # noqa: ARG003 - no choice yet
        """Learn every column from the train rows (N, D)."""
        columns = fit_columns(spec.columns, inputs)
        return cls(columns=columns, left_out=spec.left_out, missing_values=spec.missing_values)

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """The same, which also understands null and values where the other dataset's train rows (N, D) have them."""
        places = {column.name: index for index, column in enumerate(spec.columns)}
        lacking = np.array([column.nullable for column in spec.columns])
        bounds = Bounds.of_none(len(spec.columns))
        for block in each_block(len(inputs), rows_per_read(len(spec.columns))):
            values = inputs[block]
            lacking |= np.isnan(values).any(0)
            bounds = bounds.with_rows(values)
        columns = tuple(
            column.adapted(
                spec.columns[places[column.name]],
                nullable=bool(lacking[places[column.name]]),
                bounds=bounds,
                index=places[column.name],
            )
            for column in self.columns
        )
        names = {"left_out": spec.left_out, "missing_values": spec.missing_values}
        return self.model_copy(update={"columns": columns, **names})

    @property
    def shape(self) -> Shape:
        """(D',)."""
        return (sum(column.width for column in self.columns),)

    @property
    def encoding(self) -> Encoding:
        """(D',), and the indices of the standardised value of each number and date."""
        starts = accumulate((column.width for column in self.columns), initial=0)
        pairs = zip(starts, self.columns, strict=False)
        return Encoding(shape=self.shape, numbers=tuple(start for start, column in pairs if column.type != "category"))

    @property
    def row_width(self) -> Integer:
        """D, the number of columns."""
        return len(self.columns)

    def encode(self, inputs: Rows) -> Tensor:
        """float64 (N, D) to float32 (N, D'), standardised before it is rounded."""
        encoded = np.zeros((len(inputs), *self.shape), np.float32)
        start = 0
        for index, column in enumerate(self.columns):
            column.encode(inputs[:, index], encoded[:, start : start + column.width])
            start += column.width
        return torch.from_numpy(encoded)

    def decode(self, inputs: Sequence[Any], doubts: Doubts | None = None) -> Rows:
        """JSON to float64 (N, D). Raises `InputError`."""
        reader = _RowReader(self, doubts or Doubts())
        return as_rows(decode_each(inputs, reader.read, reader.doubts), np.float64)

    def signature(self) -> Signature:
        """The columns; the example has the means of the train rows and their first categories."""
        row = {column.name: column.example for column in self.columns}
        return Signature(
            modality="table",
            columns=tuple(column.signature for column in self.columns),
            ignored=self.left_out,
            example={"inputs": [row]},
        )

    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's columns differ by name, type or order."""
        if spec.modality != "table":
            return [f"the model takes tables and the dataset is of {spec.modality}s"]
        own_types = {column.name: column.type for column in self.columns}
        given_types = {column.name: column.type for column in spec.columns}
        differences = [f"the dataset lacks column {name!r}" for name in own_types if name not in given_types]
        differences += [f"the model does not know column {name!r}" for name in given_types if name not in own_types]
        differences += [
            f"column {name!r} is a {kind} for the model and a {given_types[name]} in the dataset"
            for name, kind in own_types.items()
            if given_types.get(name, kind) != kind
        ]
        return differences

    def aligned(self, inputs: Rows, spec: DataSpec) -> Rows:
        """Reorder another dataset's columns (N, D) to this one's order, and translate its category codes."""
        positions = {column.name: (index, column) for index, column in enumerate(spec.columns)}
        result = np.empty((len(inputs), len(self.columns)), np.float64)
        for index, column in enumerate(self.columns):
            position, given = positions[column.name]
            result[:, index] = _recoded(inputs[:, position], column, given)
        return result

    def unknown_values(self, inputs: StoredRows, spec: DataSpec) -> list[UnknownValues]:
        """Count the values of each category column whose category no train row had."""
        places = {column.name: index for index, column in enumerate(spec.columns)}
        chosen = [(column, places[column.name]) for column in self.columns if isinstance(column, CategoryColumn)]
        counts = [np.zeros(len(spec.columns[place].categories), dtype=np.int64) for _, place in chosen]
        for block in each_block(len(inputs), rows_per_read(len(spec.columns))):
            rows = inputs[block]
            for index, (_, place) in enumerate(chosen):
                codes = rows[:, place][~np.isnan(rows[:, place])].astype(np.int64)
                counts[index] += np.bincount(codes, minlength=len(counts[index]))
        return [
            column.unknown_values(dict(zip(spec.columns[place].categories, of_column.tolist(), strict=True)))
            for of_column, (column, place) in zip(counts, chosen, strict=True)
        ]

    def specimens(self, count: int) -> Rows:
        """Numbers and dates near the train split's, every category and missing values, float64 (count, D)."""
        random = np.random.default_rng(0)
        return np.stack([column.specimens(count, random) for column in self.columns], axis=1, dtype=np.float64)


@dataclass
class _RowReader:
    """Reads the rows of one request."""

    table: TableModality
    doubts: Doubts

    def read(self, value: Any) -> list[float]:
        """Read one row."""
        cells = self._cells(plain(value))
        if self.table.missing_values:
            cells = [None if is_listed(cell, self.table.missing_values) else cell for cell in cells]
        return [column.decode(cell, self.doubts) for column, cell in zip(self.table.columns, cells, strict=True)]

    def _cells(self, value: Any) -> list[Any]:
        columns = self.table.columns
        if isinstance(value, list):
            if len(value) == len(columns):
                return value
            msg = f"{len(value)} values are given; expected {len(columns)}: {_some([c.name for c in columns])}"
            raise DecodingError(msg)
        if isinstance(value, dict):
            value = self._with_lists_spread(with_clean_keys(value, {column.name for column in columns}))
            unused = self._unused_keys(value)
            if unused:
                ignore_keys(unused, self.table.left_out, [column.name for column in columns], self.doubts)
            return [value.get(column.name) for column in columns]
        msg = "a row is a list of values in column order or an object of column and value"
        raise DecodingError(msg)

    def _with_lists_spread(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with emb0, emb1 ... in place of a list under emb, where those are the columns.

        Raises:
            DecodingError: the list has another length.
        """
        names = {*(column.name for column in self.table.columns), *self.table.left_out}
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
        """Return the keys that are no columns. Raises `DecodingError` where a column that is needed has no key."""
        names = {column.name for column in self.table.columns}
        unused = [key for key in row if key not in names]
        missing = [c.name for c in self.table.columns if c.name not in row and not c.may_be_missing]
        if missing:
            problems = [f"unknown: {_some(unused)}"] if unused else []
            msg = f"the keys do not match the columns; {'; '.join([*problems, f'missing: {_some(missing)}'])}"
            if any(_GENERATED.fullmatch(name) for name in missing):
                msg += "; the training file had no header: name its columns x0, x1, ... in their order"
            raise DecodingError(msg)
        return unused


def _recoded(values: Rows, column: AnyColumn, given: ColumnSpec) -> Rows:
    """Translate category codes (N,) by their names; names that the column does not know become NaN."""
    if not isinstance(column, CategoryColumn) or column.categories == given.categories:
        return values
    positions = {name: code for code, name in enumerate(column.categories)}
    table = np.array([positions.get(name, np.nan) for name in given.categories] + [np.nan], np.float64)
    known = ~np.isnan(values)
    codes = np.where(known, np.nan_to_num(values), len(given.categories)).astype(np.int64)
    return table[codes]


def _some(names: Sequence[Any]) -> str:
    listed = ", ".join(repr(str(name)[:40]) for name in names[:5])
    return listed if len(names) <= 5 else f"{listed} and {len(names) - 5} more"  # noqa: PLR2004 - enough to see
