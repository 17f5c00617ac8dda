"""Rows of numbers, categories and dates, standardised by the train split.

Stored as float64 (N, D), by earlier releases as float32: categories as codes, dates as days since 1970-01-01, NaN =
missing; what each column becomes in the encoded float32 (N, D'), `columns.py` says. JSON inputs are lists of D values
in column order or objects {column: value}. true and false are 1 and 0 for a number and "true" and "false" for a
category; a whole number given for a category is its text, and blanks around text are trimmed where only that makes it a
known category. A date is ISO 8601 text, or a number of days.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from app.ml.data.chunks import as_rows, each_block, rows_per_read
from app.ml.fields import Integer
from app.ml.interfaces import Encoding, Modality, Rows, Shape, StoredRows
from app.ml.kinds.modalities.columns import AnyColumn, CategoryColumn, fit_columns
from app.ml.kinds.modalities.decoding import DecodingError, decode_each
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.spec import ColumnSpec, DataSpec

_USUAL = TablePreprocessing()


class TableModality(Modality):
    """Rows of named columns."""

    kind: Literal["table"] = "table"
    bounded: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    columns: tuple[AnyColumn, ...] = Field(min_length=1, description="The columns in order, with what was learned.")

    @classmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: TablePreprocessing = _USUAL) -> Self:  # noqa: ARG003 - no choice yet
        """Learn every column from the train rows (N, D)."""
        return cls(columns=fit_columns(spec.columns, inputs))

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """The same, which also understands null where the other dataset's train rows (N, D) lack a value."""
        places = {column.name: index for index, column in enumerate(spec.columns)}
        lacking = np.array([column.nullable for column in spec.columns])
        for block in each_block(len(inputs), rows_per_read(len(spec.columns))):
            lacking |= np.isnan(inputs[block]).any(0)
        columns = tuple(
            column.model_copy(update={"nullable": column.nullable or bool(lacking[places[column.name]])})
            for column in self.columns
        )
        return self.model_copy(update={"columns": columns})

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

    def decode(self, inputs: Sequence[Any]) -> Rows:
        """JSON to float64 (N, D). Raises `InputError`."""
        return as_rows(decode_each(inputs, self._decode_one), np.float64)

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

    def specimens(self, count: int) -> Rows:
        """Numbers and dates near the train split's, every category and missing values, float64 (count, D)."""
        random = np.random.default_rng(0)
        return np.stack([column.specimens(count, random) for column in self.columns], axis=1, dtype=np.float64)

    def _decode_one(self, value: Any) -> list[float]:
        cells = self._ordered(value)
        return [column.decode(cell) for column, cell in zip(self.columns, cells, strict=True)]

    def _ordered(self, value: Any) -> list[Any]:
        names = [column.name for column in self.columns]
        if isinstance(value, list):
            if len(value) == len(names):
                return value
            msg = f"{len(value)} values are given; expected {len(names)}: {_some(names)}"
            raise DecodingError(msg)
        if isinstance(value, dict):
            unknown = [name for name in value if name not in names]
            missing = [name for name in names if name not in value]
            if not unknown and not missing:
                return [value[name] for name in names]
            problems = [f"unknown: {_some(unknown)}"] if unknown else []
            problems += [f"missing: {_some(missing)}"] if missing else []
            msg = f"the keys do not match the columns; {'; '.join(problems)}"
            raise DecodingError(msg)
        msg = "a row is a list of values in column order or an object of column and value"
        raise DecodingError(msg)


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
