"""Texts and series that come one by one: empty ones are left out, bad ones refused by row, the rest waits on disk."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NoReturn, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Floats, Ints, LabelsColumn, TextColumn
from app.datasets.frames.texts import Texts, TextWriter
from app.datasets.limits import Limits
from app.datasets.report import Removal

FLOAT32_MAX = float(np.finfo(np.float32).max)
PASSED_ON = 1 << 14


@dataclass(frozen=True, slots=True)
class Empty(Sequence[Removal]):
    """The removals of rows that hold nothing, made when they are asked for."""

    rows: Ints
    detail: str

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Removal: ...
    @overload
    def __getitem__(self, at: slice) -> "Empty": ...
    def __getitem__(self, at: int | slice) -> "Removal | Empty":
        if isinstance(at, slice):
            return Empty(self.rows[at], self.detail)
        return Removal(row=int(self.rows[at]), reason="corrupt", detail=self.detail)

    def __iter__(self) -> Iterator[Removal]:
        return (self[at] for at in range(len(self)))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of rows 0 .. : which ones, (n,), and the account of the empty ones."""

    places: Ints
    empty: Empty


class TextRows:
    """Collects texts; feed it every row in order, then `finish`, and `close` in any case.

    With `blank`, white space counts as text.
    """

    def __init__(self, context: Context, *, blank: bool = False) -> None:
        self._blank = blank
        self._limits = context.limits
        self._progress = context.progress
        self._writer = TextWriter(context.work)
        self._empty = array("q")
        self.count = 0

    def add(self, text: str | None) -> None:
        """Take the next row.

        Raises:
            DatasetError: too_large or bad_text.
        """
        row = self.count
        self.count += 1
        if not text or not (self._blank or text.strip()):
            self._empty.append(row)
            return
        check_text(text, row, self._limits)
        self._writer.add(text)
        if self._writer.size > self._limits.text_bytes or self.count > self._limits.rows:
            message = f"there are more than {self._limits.text_bytes} bytes or {self._limits.rows} rows of text"
            raise DatasetError(Code.TOO_LARGE, f"{message}; upload less")
        if row % PASSED_ON == 0:
            self._progress(0.4, f"{row} texts read")

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()

    def finish(self) -> tuple[Texts, Kept]:
        """Return the texts, mapped, and which rows they are."""
        texts = self._writer.finish()
        if not len(texts):
            raise DatasetError(Code.EMPTY_DATASET, f"none of the {self.count} rows holds any text; add some")
        return texts, _kept(self.count, self._empty, "the text is empty")


def check_text(text: str, row: int, limits: Limits) -> None:
    """Refuse a text that is too long or that no database takes, by its row."""
    if len(text) > limits.field_chars:
        message = f"row {row}: its text has {len(text)} characters and at most {limits.field_chars} are taken; cut it"
        raise DatasetError(Code.TOO_LARGE, message, [RowError(("file",), message, row)])
    if "\0" in text:
        message = f"row {row}: its text holds a NUL character; remove it"
        raise DatasetError(Code.BAD_TEXT, message, [RowError(("file",), message, row)])


class SeriesRows:
    """Collects series of any length and one number of channels; to be fed and closed like `TextRows`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._path = context.work / "values.bin"
        self._file = self._path.open("wb")
        self._ends = array("q", [0])
        self._empty = array("q")
        self.channels = 0
        self.count = 0

    def add(self, series: Floats) -> None:
        """Take the next row (steps, channels), NaN = missing; one without any value is left out.

        Raises:
            DatasetError: too_large, bad_number or bad_series.
        """
        row = self.count
        self.count += 1
        held = np.flatnonzero(~np.isnan(series).all(axis=1)) if series.size else np.empty(0)
        if not len(held):
            self._empty.append(row)
            return
        self._check(series, row)
        self._file.write(series[: held[-1] + 1].astype(np.float32).tobytes())
        self._ends.append(self._ends[-1] + int(held[-1]) + 1)
        if row % PASSED_ON == 0:
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
            if self._context.options.missing == "reject":
                hint = 'correct it, leave it out, or set missing to "impute"'
                _refuse(Code.BAD_NUMBER, f"{series[bad][0]:g} is no number that a model can use; {hint}", row)
            series[bad] = np.nan

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def finish(self) -> tuple[npt.NDArray[np.float32], Kept]:
        """Return the series float32 (n, T, C), mapped, each filled up with NaN, and which rows they are."""
        self._file.close()
        if len(self._ends) == 1:
            raise DatasetError(Code.EMPTY_DATASET, f"none of the {self.count} series holds any value; add some")
        lengths = np.diff(self._ends)
        out = open_series((len(lengths), int(lengths.max()), self.channels), self._context)
        values = np.memmap(self._path, dtype=np.float32, mode="r").reshape(-1, self.channels)
        for place, (start, end) in enumerate(pairwise(self._ends)):
            out[place, : end - start] = values[start:end]
            out[place, end - start :] = np.nan
        return out, _kept(self.count, self._empty, "the series holds no value")


def open_series(shape: tuple[int, int, int], context: Context) -> npt.NDArray[np.float32]:
    """Return a mapped scratch array float32 (N, T, C), if that much is taken."""
    steps, channels = shape[1:]
    if steps * channels > context.limits.series_values or channels > context.limits.columns:
        message = f"series of {steps} steps and {channels} channels are too long; cut them into shorter ones"
        raise DatasetError(Code.TOO_LARGE, message)
    if 4 * np.prod(shape, dtype=np.float64) > context.limits.canonical_bytes:
        message = f"{shape[0]} series, filled up to {steps} steps of {channels} channels, are too large; shorten them"
        raise DatasetError(Code.TOO_LARGE, message)
    path = context.work / "series.npy"
    mapped: npt.NDArray[np.float32] = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    return mapped


def select(column: Column, places: Ints) -> Column:
    """Return the rows of a column at `places` (n,)."""
    if isinstance(column, TextColumn | LabelsColumn):
        return replace(column, values=column.values.take(pa.array(places)))
    return replace(column, values=column.values[places])


def _kept(count: int, empty: "array[int]", detail: str) -> Kept:
    without = np.array(empty, dtype=np.int64)
    keep = np.ones(count, dtype=np.bool_)
    keep[without] = False
    return Kept(np.flatnonzero(keep), Empty(without, detail))


def _refuse(code: Code, what: str, row: int) -> NoReturn:
    message = f"series {row}: {what}"
    raise DatasetError(code, message, [RowError(("file",), message, row)])
