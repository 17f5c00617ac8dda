"""Collect texts and series row by row on disk; empty ones are left out, bad ones are refused by their row."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NoReturn, overload
from uuid import uuid4

import numpy as np
import pyarrow as pa

from app.datasets.columns.missing_values import MissingNumbers
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Floats, Ints, LabelsColumn, TextColumn
from app.datasets.frames.texts import Texts, TextWriter
from app.datasets.limits import Limits
from app.datasets.report import Removal

FLOAT32_MAX = float(np.finfo(np.float32).max)
PROGRESS_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class EmptyRows(Sequence[Removal]):
    """The removals of rows without any value, each made only when it is read."""

    rows: Ints
    detail: str

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Removal: ...
    @overload
    def __getitem__(self, index: slice) -> "EmptyRows": ...
    def __getitem__(self, index: int | slice) -> "Removal | EmptyRows":
        if isinstance(index, slice):
            return EmptyRows(self.rows[index], self.detail)
        return Removal(row=int(self.rows[index]), reason="corrupt", detail=self.detail)

    def __iter__(self) -> Iterator[Removal]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, slots=True)
class KeptRows:
    """The positions of the rows that are not empty, (n,), and the empty rows."""

    positions: Ints
    empty: EmptyRows


class CollectedTexts:
    """Collects texts: `add` every row in order, then `finish`; `close` in any case.

    With `keep_blank`, a text of white space alone is not empty.
    """

    def __init__(self, context: Context, *, keep_blank: bool = False) -> None:
        self._keep_blank = keep_blank
        self._limits = context.limits
        self._progress = context.progress
        self._writer = TextWriter(context.scratch)
        self._empty = array("q")
        self.count = 0

    def add(self, text: str | None) -> None:
        """Add the text of the next row.

        Raises:
            DatasetError: too_large or bad_text.
        """
        row = self.count
        self.count += 1
        if not text or not (self._keep_blank or text.strip()):
            self._empty.append(row)
            return
        check_text(text, row, self._limits)
        self._writer.add(text)
        if self._writer.size > self._limits.text_bytes or self.count > self._limits.rows:
            message = f"there are more than {self._limits.text_bytes} bytes or {self._limits.rows} rows of text"
            raise DatasetError(Code.TOO_LARGE, f"{message}; upload less")
        if row % PROGRESS_ROWS == 0:
            self._progress(0.4, f"{row} texts read")

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def finish(self) -> tuple[Texts, KeptRows]:
        """Return the texts, memory-mapped, and their rows."""
        texts = self._writer.finish()
        if not len(texts):
            raise DatasetError(Code.EMPTY_DATASET, f"none of the {self.count} rows holds any text; add some")
        return texts, _kept_rows(self.count, self._empty, "the text is empty")


def check_text(text: str, row: int, limits: Limits) -> None:
    """Refuse a text that is too long or has a NUL character, by its row."""
    if len(text) > limits.field_chars:
        message = f"row {row}: its text has {len(text)} characters and at most {limits.field_chars} are taken; cut it"
        raise DatasetError(Code.TOO_LARGE, message, [RowError(("file",), message, row)])
    if "\0" in text:
        message = f"row {row}: its text holds a NUL character; remove it"
        raise DatasetError(Code.BAD_TEXT, message, [RowError(("file",), message, row)])


class SeriesRows:
    """Collects series of any length with the same number of channels; used like `CollectedTexts`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._path = context.scratch / f"{uuid4().hex}.bin"  # other processes write into the folder, too
        self._file = self._path.open("wb")
        self._ends = array("q", [0])
        self._empty = array("q")
        self._shortest, self._longest = np.iinfo(np.int64).max, 0
        self._missing = MissingNumbers(context.options.missing_values)
        self.channels = 0
        self.count = 0

    def add(self, series: Floats) -> None:
        """Add the series of the next row, (steps, channels), NaN = missing; one without any value is left out.

        Raises:
            DatasetError: too_large, bad_number or bad_series.
        """
        row = self.count
        self.count += 1
        self._missing.blank(series)
        observed = np.flatnonzero(~np.isnan(series).all(axis=1)) if series.size else np.empty(0)
        if not len(observed):
            self._empty.append(row)
            return
        self._check(series, row)
        self._file.write(series[: observed[-1] + 1].tobytes())
        self._ends.append(self._ends[-1] + int(observed[-1]) + 1)
        self._shortest, self._longest = min(self._shortest, len(series)), max(self._longest, len(series))
        if row % PROGRESS_ROWS == 0:
            self._context.progress(0.4, f"{row} series read")

    def _check(self, series: Floats, row: int) -> None:
        self.channels = self.channels or series.shape[1]
        if series.shape[1] != self.channels:
            _refuse(Code.BAD_SERIES, f"it has {series.shape[1]} channels and those before have {self.channels}", row)
        limits = self._context.limits
        if series.size > limits.series_values or self.channels > limits.columns:
            _refuse(Code.TOO_LARGE, f"its {series.shape} values are too many; cut it into shorter series", row)
        if self.count > limits.rows:
            _refuse(Code.TOO_LARGE, f"at most {limits.rows} series are taken", row)
        bad = np.abs(series) > FLOAT32_MAX
        if bad.any():
            if self._context.options.missing != "impute":
                hint = 'correct it, leave it out, or set missing to "impute"'
                _refuse(Code.BAD_NUMBER, f"{series[bad][0]:g} is no number that a model can use; {hint}", row)
            series[bad] = np.nan

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def lengths(self) -> tuple[int, int]:
        """Return the fewest and the most steps of the series that are not empty, with missing ones at the end."""
        return self._shortest, self._longest

    def finish(self) -> tuple[Floats, KeptRows]:
        """Return the series float64 (n, T, C), memory-mapped and padded with NaN, and their rows."""
        self._file.close()
        self._missing.note(self._context.notes)
        if len(self._ends) == 1:
            raise DatasetError(Code.EMPTY_DATASET, f"none of the {self.count} series holds any value; add some")
        lengths = np.diff(self._ends)
        out = open_series((len(lengths), int(lengths.max()), self.channels), self._context)
        values = np.memmap(self._path, dtype=np.float64, mode="r").reshape(-1, self.channels)
        for position, (start, end) in enumerate(pairwise(self._ends)):
            out[position, : end - start] = values[start:end]
            out[position, end - start :] = np.nan
        return out, _kept_rows(self.count, self._empty, "the series holds no value")


def open_series(shape: tuple[int, int, int], context: Context) -> Floats:
    """Return a memory-mapped scratch array float64 (N, T, C), or refuse so large a one."""
    steps, channels = shape[1:]
    if steps * channels > context.limits.series_values or channels > context.limits.columns:
        message = f"series of {steps} steps and {channels} channels are too long; cut them into shorter ones"
        raise DatasetError(Code.TOO_LARGE, message)
    if 8 * np.prod(shape, dtype=np.float64) > context.limits.canonical_bytes:
        message = f"{shape[0]} series, filled up to {steps} steps of {channels} channels, are too large; shorten them"
        raise DatasetError(Code.TOO_LARGE, message)
    path = context.scratch / "series.npy"
    array: Floats = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape)
    return array


def take_rows(column: Column, positions: Ints) -> Column:
    """Return the rows of a column at `positions` (n,)."""
    if isinstance(column, TextColumn | LabelsColumn):
        return replace(column, values=column.values.take(pa.array(positions)))
    return replace(column, values=column.values[positions])


def _kept_rows(count: int, empty: "array[int]", detail: str) -> KeptRows:
    empty_rows = np.array(empty, dtype=np.int64)
    keep = np.ones(count, dtype=np.bool_)
    keep[empty_rows] = False
    return KeptRows(np.flatnonzero(keep), EmptyRows(empty_rows, detail))


def _refuse(code: Code, what: str, row: int) -> NoReturn:
    message = f"series {row}: {what}"
    raise DatasetError(code, message, [RowError(("file",), message, row)])
