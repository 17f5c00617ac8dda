"""The columns of a table, fitted on the train split: stored float64 (N,), NaN = missing, to float32 (N, width).

number     (x - mean) / std, within +-10,000, a missing one as the mean (0); and, only where the train split had
           missing values, one more feature that is 1 when missing
category   one feature per category, and one that is 1 when missing, or when no train row had the category; the
           latter stays 0 where the train split had no missing values: its weights would be untrained
date       days since 1970-01-01 like a number; sines and cosines of those of its parts that vary (`date_parts.py`);
           and the feature for missing ones. Of earlier releases: of the places in the year, in the week and, where
           the train split had times, in the day
text       in `text_column.py`
"""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from app.ml.data.date_parts import HARMONICS
from app.ml.data.dates import FIRST, LAST, from_iso, to_iso
from app.ml.fields import Real
from app.ml.interfaces import Rows
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.modality import UnknownValues
from app.ml.interfaces.signature import SignatureColumn
from app.ml.kinds.modalities.category_names import TRUE_AND_FALSE, CategoryNames
from app.ml.kinds.modalities.column_statistics import ColumnStatistics
from app.ml.kinds.modalities.decoding import DecodingError, did_you_mean, is_missing, number_of
from app.ml.kinds.modalities.ranges import Bounds, Range
from app.ml.spec import ColumnSpec, DatePart, DecimalSign, Frozen, WarningCode

MAX_NUMBER = float(np.finfo(np.float32).max)
_MAX_NAME = 2**63
MAX_EXAMPLES = 5  # of unknown categories
_MISSING_SPECIMENS = 0.2


class Column(Frozen):
    """The fields that all columns share."""

    type: str
    name: str = Field(description="The column's name.")
    had_missing: bool = Field(default=False, description="Whether train rows lacked it, so that missing has a feature.")
    nullable: bool = Field(default=False, description="Whether null is understood though no train row lacked it.")

    @property
    def may_be_missing(self) -> bool:
        """Whether a row may lack it without a doubt."""
        return self.had_missing or self.nullable

    @property
    def signature(self) -> SignatureColumn:
        """What a row to answer may hold."""
        return SignatureColumn(
            name=self.name, type=self.type, categories=None, range=None, may_be_missing=self.may_be_missing
        )

    def adapted(self, given: ColumnSpec, *, nullable: bool, bounds: Bounds, index: int) -> Self:
        """Return the column as it is for another dataset, where it is `given`; its values have `bounds` at `index`."""
        return self.model_copy(update={"nullable": self.nullable or nullable})

    def _missing(self, what: str, doubts: Doubts) -> float:
        """Return NaN, as which a missing value is stored; it is doubtful where no train row lacked one."""
        if not self.may_be_missing:
            doubts.add(WarningCode.MISSING_VALUE, self.name, f"no training row lacked it: give a {what}")
        return math.nan

    def _specimens(self, values: Rows, random: np.random.Generator) -> Rows:
        """Made-up values (count,), now and then a missing one where that is understood."""
        return np.where(self.had_missing & (random.random(len(values)) < _MISSING_SPECIMENS), np.nan, values)


class RangedColumn(Column):
    """A fitted column whose values have an order."""

    range: Range | None = Field(default=None, description="Of the train rows' values; null: not known.")

    def adapted(self, given: ColumnSpec, *, nullable: bool, bounds: Bounds, index: int) -> Self:
        """Return the column with a range that holds the other dataset's values too."""
        column = super().adapted(given, nullable=nullable, bounds=bounds, index=index)
        return column.model_copy(update={"range": bounds.joined(index, self.range)})


class NumberColumn(RangedColumn):
    """A fitted column of numbers."""

    type: Literal["number"] = "number"
    mean: Real = Field(0.0, description="Mean over the train rows that have it.")
    std: Real = Field(1.0, gt=0, description="Deviation over the train rows that have it; 1 for a constant.")
    binary: bool = Field(default=False, description="Whether train rows had 0 and 1 alone, so that true is understood.")
    decimal: DecimalSign | None = Field(
        default=None, description="The sign before the fractions of the training file's numbers; null: not known."
    )
    sign: str | None = Field(
        default=None, description="The currency or percent sign next to the training file's numbers; null: plain ones."
    )

    def adapted(self, given: ColumnSpec, *, nullable: bool, bounds: Bounds, index: int) -> Self:
        """Return the column which also reads numbers as the other dataset's file writes them."""
        column = super().adapted(given, nullable=nullable, bounds=bounds, index=index)
        sign = self.sign if given.sign is None else given.sign
        return column.model_copy(update={"decimal": given.decimal or self.decimal, "sign": sign})

    @property
    def width(self) -> int:
        """Number of features."""
        return 2 if self.had_missing else 1

    @classmethod
    def fit(cls, column: ColumnSpec, statistics: ColumnStatistics) -> Self:
        """Learn from the train rows' values."""
        mean, std = statistics.scale
        return cls(
            name=column.name,
            nullable=column.nullable,
            mean=mean,
            std=std,
            had_missing=statistics.missing,
            binary=statistics.moments.count > 0 and statistics.binary,
            decimal=column.decimal,
            range=statistics.range,
            sign=column.sign,
        )

    @property
    def signature(self) -> SignatureColumn:
        """With the range."""
        bounds = None if self.range is None else (self.range.low, self.range.high)
        return super().signature.model_copy(update={"range": bounds})

    @property
    def example(self) -> float:
        """A usual value."""
        return float(f"{self.mean:.4g}")

    def specimens(self, count: int, random: np.random.Generator) -> Rows:
        """Numbers within two deviations, and now and then a missing one where that is understood; (count,)."""
        return self._specimens(self.mean + self.std * random.uniform(-2, 2, count), random)

    def decode(self, value: Any, doubts: Doubts) -> float:
        """A JSON value, or a text as a file has it, to the stored number."""
        if value is None or (isinstance(value, str) and is_missing(value)):
            return self._missing("number", doubts)
        number = self._read(value) if isinstance(value, str) else value
        if not isinstance(number, int | float) or (isinstance(number, bool) and not self.binary):
            msg = f"expected a number, not a {type(value).__name__}"
            raise DecodingError(msg, self.name)
        if not -MAX_NUMBER <= number <= MAX_NUMBER:  # also catches NaN
            msg = "expected a finite number"
            raise DecodingError(msg, self.name)
        if self.range is not None and self.range.is_far(number):
            doubts.add(WarningCode.OUT_OF_RANGE, self.name, f"training saw {self.range}")
        return float(number)

    def _read(self, text: str) -> float | bool:
        truth = TRUE_AND_FALSE.get(text.strip().casefold())
        number = number_of(text, self.decimal, self.sign) if truth is None else truth
        if number is None:
            msg = "expected a number: this text is none; write numbers as 1234.5"
            raise DecodingError(msg, self.name)
        return number


class CategoryColumn(Column):
    """A column of categories."""

    type: Literal["category"] = "category"
    categories: tuple[str, ...] = Field(description="Code i means categories[i].")
    unseen: tuple[int, ...] = Field(default=(), description="Codes that no train row had; they count as unknown.")

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return len(self.categories) + 1

    @classmethod
    def fit(cls, column: ColumnSpec, statistics: ColumnStatistics) -> Self:
        """Learn from the train rows' codes."""
        return cls(
            name=column.name,
            nullable=column.nullable,
            categories=column.categories,
            unseen=tuple(sorted(set(range(len(column.categories))) - statistics.codes)),
            had_missing=statistics.missing,
        )

    @property
    def signature(self) -> SignatureColumn:
        """With the categories that train rows had."""
        return super().signature.model_copy(update={"categories": self._seen})

    @property
    def example(self) -> str | None:
        """The first category."""
        return self._seen[0] if self._seen else None

    @property
    def _seen(self) -> tuple[str, ...]:
        return tuple(name for code, name in enumerate(self.categories) if code not in self.unseen)

    def specimens(self, count: int, random: np.random.Generator) -> Rows:
        """Codes, one of them unknown; (count,)."""
        codes = random.integers(0, len(self.categories) + 1, count)
        return np.where(codes < len(self.categories), codes, np.nan)

    def decode(self, value: Any, doubts: Doubts) -> float:
        """A JSON value, or a text as a file has it, to the stored code; an unknown category is stored as missing."""
        if value is None:
            return self._missing("category", doubts)
        text = _text(value)
        if text is None and (isinstance(value, bool) or not isinstance(value, float) or not self._names.by_number):
            msg = f"expected a category as text or a whole number, not a {type(value).__name__}"
            raise DecodingError(msg, self.name)
        text = repr(value) if text is None else text
        code = self._names.code_of(text)
        if code is not None:
            if code in self.unseen:
                doubts.add(WarningCode.UNKNOWN_CATEGORY, self.name, "known to the dataset, and in no training row")
            return float(code)
        if not text.strip():
            return self._missing("category", doubts)
        doubts.add(WarningCode.UNKNOWN_CATEGORY, self.name, did_you_mean(text, self.categories).removeprefix("; "))
        return math.nan

    @cached_property
    def _names(self) -> CategoryNames:
        return CategoryNames(self.categories)

    def unknown_values(self, counts: Mapping[str, int]) -> UnknownValues:
        """Count those of so many values of each category, by name, whose category no train row had."""
        known = {name for code, name in enumerate(self.categories) if code not in self.unseen}
        unknown = {name: count for name, count in counts.items() if count and name not in known}
        examples = sorted(unknown, key=lambda name: -unknown[name])[:MAX_EXAMPLES]
        return UnknownValues(self.name, sum(unknown.values()), sum(counts.values()), tuple(examples))


class DateColumn(RangedColumn):
    """A fitted column of dates."""

    type: Literal["date"] = "date"
    mean: Real = Field(0.0, description="Mean day since 1970-01-01 over the train rows that have it.")
    std: Real = Field(1.0, gt=0, description="Deviation in days over the train rows that have it; 1 for a constant.")
    timed: bool = Field(default=False, description="Whether train rows had times of day.")
    parts: tuple[DatePart, ...] | None = Field(
        None, description="The parts that have features; null: the places in year, week and, where timed, day."
    )

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return 1 + 2 * len(self.cycles) + self.had_missing

    @classmethod
    def fit(cls, column: ColumnSpec, statistics: ColumnStatistics) -> Self:
        """Learn from the train rows' days."""
        mean, std = statistics.scale
        return cls(
            name=column.name,
            nullable=column.nullable,
            mean=mean,
            std=std,
            had_missing=statistics.missing,
            timed=not statistics.whole,
            parts=column.parts,
            range=statistics.range,
        )

    @property
    def signature(self) -> SignatureColumn:
        """With the range."""
        bounds = None if self.range is None else (to_iso(self.range.low), to_iso(self.range.high))
        return super().signature.model_copy(update={"range": bounds})

    @property
    def example(self) -> str:
        """A usual day."""
        return to_iso(math.floor(self.mean))

    def specimens(self, count: int, random: np.random.Generator) -> Rows:
        """Days within two deviations, and now and then a missing one where that is understood; (count,)."""
        days = self.mean + self.std * random.uniform(-2, 2, count)
        return self._specimens(np.clip(days if self.timed else np.floor(days), FIRST, LAST), random)

    def decode(self, value: Any, doubts: Doubts) -> float:
        """A JSON value, or a text as a file has it, to the stored day."""
        if value is None or (isinstance(value, str) and is_missing(value)):
            return self._missing("date", doubts)
        days = _days(value) if isinstance(value, str) else value
        if isinstance(days, bool) or not isinstance(days, int | float) or not FIRST <= days <= LAST:
            msg = "expected a date as 2024-02-29 or 2024-02-29T13:45, or a number of days since 1970-01-01"
            raise DecodingError(msg, self.name)
        if self.range is not None and self.range.is_far(days):
            seen = f"training saw {to_iso(self.range.low)} to {to_iso(self.range.high)}"
            doubts.add(WarningCode.OUT_OF_RANGE, self.name, seen)
        return float(days)

    @property
    def cycles(self) -> tuple[tuple[str, int], ...]:
        """Name and harmonic of each place in a period whose sine and cosine are features; see `date_parts.PLACES`."""
        if self.parts is None:
            return (("month", 1), ("week", 1), ("hour", 1)) if self.timed else (("month", 1), ("week", 1))
        return tuple((part, harmonic) for part in self.parts for harmonic in range(1, HARMONICS[part] + 1))


def _text(value: Any) -> str | None:
    """A JSON value as the name of a category: text, true, false and whole numbers have one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if abs(value) <= _MAX_NAME and value == int(value) else None
    return value if isinstance(value, str) else None


def _days(text: str) -> float | None:
    days = from_iso(text)
    return number_of(text) if days is None else days
