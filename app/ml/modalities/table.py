"""Rows of numbers and categories, standardised by the train split.

Stored as float32 (N, D), categories as codes, NaN = missing; encoded as float32 (N, D'):
    number     (x - mean) / std, a missing one as the mean (0), and, only where the train split had missing values,
               one more feature that is 1 when missing
    category   one feature per category and one for "unknown or missing"
JSON inputs are lists of D values in column order or objects {column: value}. true and false are 1 and 0 for a number
and "true" and "false" for a category; a whole number given for a category is its text, and blanks around text are
trimmed where only that makes it a known category.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from app.ml.fields import Integer, Real
from app.ml.interfaces import Modality, Rows, Shape
from app.ml.modalities.collect import BadValue, decode_each
from app.ml.preprocessing.table import TablePreprocessing
from app.ml.rows import as_rows
from app.ml.spec import ColumnSpec, DataSpec, Frozen

_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_NAME = 2**63
_MISSING_SPECIMENS = 0.2
_USUAL = TablePreprocessing()


class NumberColumn(Frozen):
    """A fitted column of numbers."""

    type: Literal["number"] = "number"
    name: str = Field(description="The column's name.")
    mean: Real = Field(0.0, description="Mean over the train rows that have it.")
    std: Real = Field(1.0, gt=0, description="Deviation over the train rows that have it; 1 for a constant.")
    had_missing: bool = Field(default=False, description="Whether train rows lacked it, so that null is understood.")
    binary: bool = Field(default=False, description="Whether train rows had 0 and 1 alone, so that true is understood.")

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return 2 if self.had_missing else 1

    @classmethod
    def fit(cls, column: ColumnSpec, values: Rows) -> Self:
        """Learn from the train rows' values (N,)."""
        present = values[~np.isnan(values)].astype(np.float64)
        mean, std = (float(present.mean()), float(present.std())) if len(present) else (0.0, 0.0)
        # A constant stored as float32 may show a deviation of rounding size.
        constant = std <= 1e-7 * abs(mean)
        return cls(
            name=column.name,
            mean=mean,
            std=1.0 if constant else std,
            had_missing=len(present) < len(values),
            binary=len(present) > 0 and bool(np.isin(present, (0, 1)).all()),
        )

    def specimens(self, count: int, random: np.random.Generator) -> Rows:
        """Numbers within two deviations, and now and then a missing one where that is understood; (count,)."""
        values = self.mean + self.std * random.uniform(-2, 2, count)
        return np.where(self.had_missing & (random.random(count) < _MISSING_SPECIMENS), np.nan, values)

    def encode(self, values: Rows, into: Rows) -> None:
        """(N,) to (N, width)."""
        missing = np.isnan(values)
        into[:, 0] = np.where(missing, 0, (values.astype(np.float64) - self.mean) / self.std)
        if self.had_missing:
            into[:, 1] = missing

    def decode(self, value: Any) -> float:
        """A JSON value to the stored number."""
        if value is None:
            if self.had_missing:
                return math.nan
            msg = "no value is given, and no training row lacked it: give a number"
            raise BadValue(msg, self.name)
        if not isinstance(value, int | float) or (isinstance(value, bool) and not self.binary):
            msg = f"expected a number, not a {type(value).__name__}"
            raise BadValue(msg, self.name)
        if not -_LARGEST <= value <= _LARGEST:  # also catches NaN
            msg = "expected a finite number"
            raise BadValue(msg, self.name)
        return float(value)


class CategoryColumn(Frozen):
    """A column of categories."""

    type: Literal["category"] = "category"
    name: str = Field(description="The column's name.")
    categories: tuple[str, ...] = Field(description="Code i means categories[i].")
    had_missing: bool = Field(default=False, description="Whether train rows lacked it, so that null is understood.")

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return len(self.categories) + 1

    @classmethod
    def fit(cls, column: ColumnSpec, values: Rows) -> Self:
        """Learn from the train rows' codes (N,)."""
        return cls(name=column.name, categories=column.categories, had_missing=bool(np.isnan(values).any()))

    def specimens(self, count: int, random: np.random.Generator) -> Rows:
        """Codes, one of them unknown; (count,)."""
        codes = random.integers(0, len(self.categories) + 1, count)
        return np.where(codes < len(self.categories), codes, np.nan)

    def encode(self, values: Rows, into: Rows) -> None:
        """(N,) to (N, width), one-hot."""
        known = (values >= 0) & (values < len(self.categories))  # NaN compares false
        codes = np.where(known, values, len(self.categories)).astype(np.int64)
        into[np.arange(len(values)), codes] = 1

    def decode(self, value: Any) -> float:
        """A JSON value to the stored code; an unknown category is stored as missing."""
        if value is None:
            if self.had_missing:
                return math.nan
            msg = "no value is given, and no training row lacked it: give a category"
            raise BadValue(msg, self.name)
        text = _text(value)
        if text is None:
            msg = f"expected a category as text or a whole number, not a {type(value).__name__}"
            raise BadValue(msg, self.name)
        known = text if text in self.categories else text.strip()
        return float(self.categories.index(known)) if known in self.categories else math.nan


def _text(value: Any) -> str | None:
    """A JSON value as the name of a category: text, true, false and whole numbers have one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if abs(value) <= _LARGEST_NAME and value == int(value) else None
    return value if isinstance(value, str) else None


AnyColumn = Annotated[NumberColumn | CategoryColumn, Field(discriminator="type")]


class Table(Modality):
    """Rows of named columns."""

    kind: Literal["table"] = "table"
    bounded: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    columns: tuple[AnyColumn, ...] = Field(min_length=1, description="The columns in order, with what was learned.")

    @classmethod
    def fit(cls, inputs: Rows, spec: DataSpec, chosen: TablePreprocessing = _USUAL) -> Self:  # noqa: ARG003 - no choice yet
        """Learn every column from the train rows (N, D)."""
        types: dict[str, type[NumberColumn | CategoryColumn]] = {"number": NumberColumn, "category": CategoryColumn}
        return cls(columns=tuple(types[one.type].fit(one, inputs[:, index]) for index, one in enumerate(spec.columns)))

    @property
    def shape(self) -> Shape:
        """(D',)."""
        return (sum(column.width for column in self.columns),)

    @property
    def row_width(self) -> Integer:
        """D, the number of columns."""
        return len(self.columns)

    def encode(self, inputs: Rows) -> Tensor:
        """float32 (N, D) to float32 (N, D')."""
        encoded = np.zeros((len(inputs), *self.shape), np.float32)
        start = 0
        for index, column in enumerate(self.columns):
            column.encode(inputs[:, index], encoded[:, start : start + column.width])
            start += column.width
        return torch.from_numpy(encoded)

    def decode(self, inputs: Sequence[Any]) -> Rows:
        """JSON to float32 (N, D). Raises `InputError`."""
        return as_rows(decode_each(inputs, self._decode_one), np.float32)

    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's columns differ by name, type or order."""
        if spec.modality != "table":
            return [f"the model takes tables and the dataset is of {spec.modality}s"]
        mine = {column.name: column.type for column in self.columns}
        theirs = {column.name: column.type for column in spec.columns}
        found = [f"the dataset lacks column {name!r}" for name in mine if name not in theirs]
        found += [f"the model does not know column {name!r}" for name in theirs if name not in mine]
        found += [
            f"column {name!r} is a {kind} for the model and a {theirs[name]} in the dataset"
            for name, kind in mine.items()
            if theirs.get(name, kind) != kind
        ]
        return found

    def aligned(self, inputs: Rows, spec: DataSpec) -> Rows:
        """Another dataset's rows (N, D) in this one's column order and category codes."""
        positions = {column.name: (index, column) for index, column in enumerate(spec.columns)}
        result = np.empty((len(inputs), len(self.columns)), np.float32)
        for index, mine in enumerate(self.columns):
            position, theirs = positions[mine.name]
            result[:, index] = _recoded(inputs[:, position], mine, theirs)
        return result

    def specimens(self, count: int) -> Rows:
        """Numbers near the train split's, every category and missing values, float32 (count, D)."""
        random = np.random.default_rng(0)
        return np.stack([column.specimens(count, random) for column in self.columns], axis=1).astype(np.float32)

    def _decode_one(self, value: Any) -> list[float]:
        values = self._ordered(value)
        return [column.decode(one) for column, one in zip(self.columns, values, strict=True)]

    def _ordered(self, value: Any) -> list[Any]:
        names = [column.name for column in self.columns]
        if isinstance(value, list):
            if len(value) == len(names):
                return value
            msg = f"{len(value)} values are given; expected {len(names)}: {_some(names)}"
            raise BadValue(msg)
        if isinstance(value, dict):
            unknown = [name for name in value if name not in names]
            missing = [name for name in names if name not in value]
            if not unknown and not missing:
                return [value[name] for name in names]
            problems = [f"unknown: {_some(unknown)}"] if unknown else []
            problems += [f"missing: {_some(missing)}"] if missing else []
            msg = f"the keys do not match the columns; {'; '.join(problems)}"
            raise BadValue(msg)
        msg = "a row is a list of values in column order or an object of column and value"
        raise BadValue(msg)


def _recoded(values: Rows, mine: NumberColumn | CategoryColumn, theirs: ColumnSpec) -> Rows:
    if isinstance(mine, NumberColumn) or mine.categories == theirs.categories:
        return values
    positions = {name: code for code, name in enumerate(mine.categories)}
    table = np.array([positions.get(name, np.nan) for name in theirs.categories] + [np.nan], np.float32)
    known = ~np.isnan(values)
    codes = np.where(known, np.nan_to_num(values), len(theirs.categories)).astype(np.int64)
    return table[codes]


def _some(names: Sequence[Any]) -> str:
    shown = ", ".join(repr(str(name)[:40]) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"  # noqa: PLR2004 - enough to see
