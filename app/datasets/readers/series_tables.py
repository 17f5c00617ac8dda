"""A table that holds series: a step in each column (wide), or a step in each row (long)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from app.datasets.columns.encoding import read_times
from app.datasets.columns.number_parsing import lex
from app.datasets.columns.roles import Assigned, assign_roles
from app.datasets.columns.type_inference import MOSTLY, Numbers, Reader, Unusable
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bools, Column, DateColumn, Floats, Ints, LabelsColumn, Loaded, TextColumn
from app.datasets.options import SeriesOptions
from app.datasets.readers.collectors import Empty, open_series, select
from app.datasets.report import Notes

VALUE = "value"
CHUNK_BYTES = 32 << 20


def as_series(loaded: Loaded, context: Context) -> Loaded:
    """Make series of a table's rows where the user asks for it.

    Raises:
        DatasetError: bad_option, unknown_column, bad_series, bad_time, or what is wrong with a column.
    """
    wish = context.options.series
    if wish is not None and loaded.inputs is not None:
        message = "series says how rows of a table make series; the rows of this file are given, so leave it out"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("series",), message)])
    lists = [column.name for column in loaded.columns if isinstance(column, LabelsColumn)]
    if wish is not None and lists:
        message = f"column {lists[0]} holds lists of labels, which a table in long form does not; remove it"
        raise DatasetError(Code.BAD_SERIES, message, [RowError((lists[0],), message)])
    if wish is not None:
        return _long(loaded, wish, context)
    return _wide(loaded, context) if context.options.modality == "series" and loaded.inputs is None else loaded


def _wide(loaded: Loaded, context: Context) -> Loaded:
    """Every input column is a step, in the order of the file."""
    columns = _steps(loaded.columns, assign_roles(loaded, context.options, Notes()), context.notes)
    reader = Reader(context.options, context.limits, loaded.rows, context.notes)
    series = open_series((len(loaded.rows), len(columns), 1), context)
    held = np.zeros(len(series), dtype=np.bool_)
    for step, column in enumerate(columns):
        values = _numbers(column, reader)
        series[:, step, 0] = values
        held |= ~np.isnan(values)
    context.notes.decide("series", f"{len(columns)} steps", "every input column is a step, in the order of the file")
    return _made(loaded, series, held, (VALUE,), columns)


def _long(loaded: Loaded, wish: SeriesOptions, context: Context) -> Loaded:
    """The rows of one id are one series; every other input column is a channel."""
    id_column, time_column = _keys(loaded, wish)
    keys = [column for column in (id_column, time_column) if column is not None]
    roles = assign_roles(loaded, context.options, Notes())
    reader = Reader(context.options, context.limits, loaded.rows, context.notes)
    channels = _steps(_without(loaded.columns, keys), roles, context.notes)
    series_of = _ids(id_column, loaded.rows)
    times = None if time_column is None else read_times(time_column, reader)
    series, held = _gather([_numbers(column, reader) for column in channels], series_of, times, context)
    first = np.unique(series_of, return_index=True)[1]
    rest = _without(loaded.columns, [*keys, *channels])
    for column in rest:
        if roles[column.name] not in {"ignored", "auto"}:
            _check_constant(column, series_of, first, loaded.rows)
    context.notes.decide("series", f"{len(first)} series", f"rows with the same {wish.id} are one series")
    columns = tuple(select(column, first) for column in rest)
    table = replace(loaded, read=len(first), rows=loaded.rows[first], columns=columns)
    return _made(table, series, held, tuple(column.name for column in channels), [*keys, *channels])


def _keys(loaded: Loaded, wish: SeriesOptions) -> tuple[Column, Column | None]:
    by_name = {column.name: column for column in loaded.columns}
    for field, name in (("id", wish.id), ("time", wish.time)):
        if name is not None and name not in by_name:
            message = f"series.{field} names the column {name[:100]!r}, which the file does not have"
            raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("series", field), message)])
    if wish.id == wish.time:
        message = "series.id and series.time name the same column; they are two"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("series", "time"), message)])
    return by_name[wish.id], None if wish.time is None else by_name[wish.time]


def _without(columns: Sequence[Column], others: Sequence[Column]) -> tuple[Column, ...]:
    names = {column.name for column in others}
    return tuple(column for column in columns if column.name not in names)


def _steps(columns: Sequence[Column], roles: dict[str, Assigned], notes: Notes) -> list[Column]:
    """Return the columns that hold steps: those with the role input, or else all numbers that have no other role."""
    wanted = [column for column in columns if roles[column.name] == "input"]
    free = [column for column in columns if roles[column.name] == "auto"]
    found = wanted or [column for column in free if not _is_text(column)]
    for column in _without(free, found):
        hint = "if it says something of a whole series, give it the role target or group"
        notes.notice(f"column {column.name} is left out: series hold the numbers of other columns; {hint}")
    if not found:
        raise DatasetError(Code.NO_INPUTS, "no column is left to hold steps of the series; give some the role input")
    return found


def _is_text(column: Column) -> bool:
    """Whether most values of a column are no numbers."""
    if not isinstance(column, TextColumn):
        return isinstance(column, DateColumn | LabelsColumn)
    lexed = lex(column.values)
    numbers, foreign = int(np.isfinite(lexed.values).sum()), int(lexed.foreign.sum())
    return column.typed or numbers < MOSTLY * (numbers + foreign)


def _numbers(column: Column, reader: Reader) -> Floats:
    """Return a column of steps (rows,); one without any value is all missing."""
    values = reader.read(column, "number")
    if isinstance(values, Unusable):
        return np.full(len(reader.rows), np.nan)
    assert isinstance(values, Numbers)
    return values.values


def _ids(column: Column, rows: Ints) -> Ints:
    """Number the series by their first rows: which one each row belongs to, (rows,)."""
    codes = _codes(column)
    lacking = np.flatnonzero(np.isnan(codes))
    if len(lacking):
        row = int(rows[lacking[0]])
        message = f"column {column.name} says which series a row belongs to; {len(lacking)} rows have none"
        raise DatasetError(Code.BAD_SERIES, message, [RowError((column.name,), message, row)])
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse]


def _codes(column: Column) -> Floats:
    """Return numbers that are equal where the column's values are, (rows,); NaN = missing."""
    if not isinstance(column, TextColumn):
        return column.values
    text = pc.utf8_trim_whitespace(column.values)
    known = pc.unique(text.filter(pc.not_equal(text, "")))
    return np.array(pc.index_in(text, known).to_numpy(zero_copy_only=False), dtype=np.float64)


def _gather(
    channels: list[Floats], series_of: Ints, times: Floats | None, context: Context
) -> tuple[npt.NDArray[np.float32], Bools]:
    """Return the series float32 (S, T, C), and which of them hold any value, (S,)."""
    order = np.argsort(series_of, kind="stable") if times is None else np.lexsort((times, series_of))
    lengths = np.bincount(series_of)
    if times is not None:
        same = (np.diff(series_of[order]) == 0) & (np.diff(times[order]) == 0)
        if same.any():
            context.notes.notice(f"{int(same.sum())} rows have the time of another row of their series; both stay")
    out = open_series((len(lengths), int(lengths.max()), len(channels)), context)
    for start in range(0, len(out), 1024):
        out[start : start + 1024] = np.nan
    steps = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    held = np.zeros(len(out), dtype=np.bool_)
    for channel, values in enumerate(channels):
        out[series_of[order], steps, channel] = values[order]
        held[series_of[~np.isnan(values)]] = True
    return out, held


def _check_constant(column: Column, series_of: Ints, first: Ints, rows: Ints) -> None:
    """Refuse a label, group or split that changes within a series."""
    codes = np.nan_to_num(_codes(column), nan=-np.inf)
    changed = np.flatnonzero(codes != codes[first][series_of])
    if len(changed):
        row = int(rows[changed[0]])
        message = f"column {column.name} changes within a series (row {row}); all rows of one say the same"
        raise DatasetError(Code.BAD_SERIES, message, [RowError((column.name,), message, row)])


def _made(
    table: Loaded, series: npt.NDArray[np.float32], held: Bools, channels: tuple[str, ...], taken: list[Column]
) -> Loaded:
    """Return the table with its series (S, T, C) as inputs, those without any value left out; its rows are series."""
    if not held.any():
        raise DatasetError(Code.EMPTY_DATASET, f"none of the {len(held)} series holds any value; add some")
    names = tuple(column.name for column in taken)
    places = np.flatnonzero(held)
    return replace(
        table,
        modality="series",
        rows=table.rows[places],
        inputs=_compact(series, places),
        columns=tuple(select(column, places) for column in _without(table.columns, taken)),
        corrupt=Empty(table.rows[~held], "the series holds no value"),
        channels=channels,
        taken=names,
    )


def _compact(series: npt.NDArray[np.float32], places: Ints) -> npt.NDArray[Any]:
    """Move the series at `places`, which ascend, to the front, in pieces, and return them."""
    if len(places) == len(series):
        return series
    step = max(1, CHUNK_BYTES // series[:1].nbytes)
    for start in range(0, len(places), step):
        piece = places[start : start + step]
        series[start : start + len(piece)] = series[piece]
    return series[: len(places)]
