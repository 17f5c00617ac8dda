"""Values that mean a missing one: those that the user lists, and numbers and words that look as if they did."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.number_parsing import parse_numbers
from app.datasets.frames import Column, Floats, LabelsColumn, TextColumn
from app.datasets.frames.chunks import row_chunks
from app.datasets.report import Notes
from app.ml.data.written_numbers import MISSING_WORD
from app.ml.spec import WarningCode

SENTINELS = (-9, -99, -999, -9999, -99999, -999999, 99, 999, 9999, 99999, 999999)
MIN_SENTINELS = 2
MIN_SHARE = 0.002
MIN_DISTANCE = 2  # from all other values, in widths of their range
MAX_SHOWN = 5


def without_missing_values(column: Column, listed: tuple[str, ...], notes: Notes) -> Column:
    """Return the column with missing values in place of those `listed`, as texts or as numbers."""
    if not listed or isinstance(column, LabelsColumn):
        return column
    numbers = numbers_among(listed)
    if isinstance(column, TextColumn):
        text = pc.utf8_trim_whitespace(column.values)
        matches = pc.fill_null(
            pc.is_in(text, pa.array([value.strip() for value in listed], pa.string())), fill_value=False
        )
        if numbers:
            as_numbers = np.isin(parse_numbers(column.values).values, numbers)
            matches = pc.or_(matches, pa.chunked_array([pa.array(as_numbers)]))
        count = int(pc.sum(matches).as_py() or 0)
        without: Column = replace(column, values=pc.if_else(matches, pa.scalar(None, pa.string()), column.values))
    else:
        equal = np.isin(column.values, numbers)
        count = int(equal.sum())
        without = replace(column, values=np.where(equal, np.nan, column.values))
    if count:
        notes.notice(f"column {column.name}: {count} values are missing, as missing_values says")
    return without if count else column


def numbers_among(listed: tuple[str, ...]) -> list[float]:
    """Return the values of `missing_values` that are numbers."""
    return [number for value in listed if (number := _number(value)) is not None]


class MissingNumbers:
    """Makes the numbers of `missing_values` missing in blocks of an array, and counts them."""

    def __init__(self, listed: tuple[str, ...]) -> None:
        self._numbers = numbers_among(listed)
        self._count = 0

    def blank(self, values: Floats) -> None:
        """Put NaN in place of them, in the array itself."""
        if self._numbers:
            matches = np.isin(values, self._numbers)
            self._count += int(matches.sum())
            values[matches] = np.nan

    def note(self, notes: Notes) -> None:
        """Say how many there were."""
        if self._count:
            notes.notice(f"{self._count} values are missing, as missing_values says")


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def warn_of_sentinels(name: str, values: Floats, rows: Any, notes: Notes) -> None:
    """Warn where a number such as -999 occurs more than once, far from all other values (N,) of a column."""
    for sentinel in SENTINELS:
        places = np.flatnonzero(values == sentinel)
        if len(places) < max(MIN_SENTINELS, MIN_SHARE * len(values)):
            continue
        others = values[~np.isnan(values) & (values != sentinel)]
        if not len(others):
            continue
        distance = max(others.min() - sentinel, sentinel - others.max())
        if distance > MIN_DISTANCE * np.ptp(others) and distance > 0:
            message = f"column {name}: {len(places)} values are {sentinel}, and all others {others.min():g} to "
            message += f"{others.max():g}; perhaps it means a missing value, and it was read as a number"
            remedy = f'missing_values=["{sentinel}"] makes it one'
            count = len(places)
            notes.warn(WarningCode.SENTINEL_VALUES, message, count=count, rows=rows[places], remedy=remedy)


def warn_of_array_sentinels(inputs: npt.NDArray[Any], names: Sequence[str], rows: Any, notes: Notes) -> None:
    """Warn as `warn_of_sentinels` does of columns of (N, D), or channels of (N, T, C), which have these names."""
    axes = tuple(range(inputs.ndim - 1))
    extremes: set[tuple[int, float]] = set()
    for block in row_chunks(inputs):
        values = np.asarray(inputs[block], dtype=np.float64)
        for outermost in (np.fmin, np.fmax):
            extremes |= set(enumerate(outermost.reduce(values, axis=axes).tolist()))
    for place in sorted({place for place, value in extremes if value in SENTINELS}):
        values = np.asarray(inputs[..., place], dtype=np.float64)
        steps = values.shape[1] if values.ndim > 1 else 1
        warn_of_sentinels(names[place], values.reshape(-1), np.repeat(rows, steps), notes)


def notice_words(name: str, categories: tuple[str, ...], codes: Floats, notes: Notes) -> None:
    """Say that words such as ? and NA are categories of a column, and how they become missing values; codes (N,)."""
    text = pa.array(list(categories), pa.string())
    words = np.flatnonzero(pc.match_substring_regex(text, MISSING_WORD).to_numpy(zero_copy_only=False))
    if len(words):
        shown = ", ".join(f"{categories[code]!r} {int((codes == code).sum())}" for code in words[:MAX_SHOWN])
        listed = json.dumps([categories[code] for code in words[:MAX_SHOWN]], ensure_ascii=False)
        notes.notice(f"column {name}: {shown} are categories of their own; missing_values={listed} makes them missing")
