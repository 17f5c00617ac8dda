"""Makes series of the rows of a table: a step is a column (wide form) or a row (long form)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from app.datasets.columns.encoding import read_times
from app.datasets.columns.missing_values import without_missing_values
from app.datasets.columns.number_parsing import parse_numbers
from app.datasets.columns.roles import Assigned, assign_roles
from app.datasets.columns.type_inference import MIN_NUMBER_SHARE, ColumnReader
from app.datasets.columns.values import Numbers, Unusable
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bools, Column, DateColumn, Floats, Ints, LabelsColumn, Loaded, TextColumn
from app.datasets.frames.chunks import row_chunks
from app.datasets.options import SeriesOptions
from app.datasets.readers.collectors import EmptyRows, open_series, take_rows
from app.datasets.report import Notes

CHANNEL = "value"


def with_series(loaded: Loaded, context: Context) -> Loaded:
    """Return the table with series as inputs where the user chose that, else the table as it is.

    Raises:
        DatasetError: bad_option, unknown_column, bad_series, bad_time, or a fault of a column.
    """
    options = context.options.series
    if options is not None and loaded.inputs is not None:
        message = "series says how rows of a table make series; the rows of this file are given, so leave it out"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("series",), message)])
    lists = [column.name for column in loaded.columns if isinstance(column, LabelsColumn)]
    if options is not None and lists:
        message = f"column {lists[0]} holds lists of labels, which a table in long form does not; remove it"
        raise DatasetError(Code.BAD_SERIES, message, [RowError((lists[0],), message)])
    if options is not None:
        return _from_long_form(loaded, options, context)
    return (
        _from_wide_form(loaded, context) if context.options.modality == "series" and loaded.inputs is None else loaded
    )


def _from_wide_form(loaded: Loaded, context: Context) -> Loaded:
    """Make a series of each row: every input column is a step, in the order of the file."""
    columns = _step_columns(loaded.columns, assign_roles(loaded, context.options, Notes()), context)
    reader = ColumnReader(context.options, context.limits, loaded.rows, context.notes)
    series = open_series((len(loaded.rows), len(columns), 1), context)
    observed = np.zeros(len(series), dtype=np.bool_)
    for step, column in enumerate(columns):
        values = _read_numbers(column, reader)
        series[:, step, 0] = values
        observed |= ~np.isnan(values)
    context.notes.decide("series", f"{len(columns)} steps", "every input column is a step, in the order of the file")
    return _finish(loaded, series, observed, (CHANNEL,), columns, columns)


def _from_long_form(loaded: Loaded, options: SeriesOptions, context: Context) -> Loaded:
    """Make a series of the rows with one id; every other input column is a channel."""
    id_column, time_column = _key_columns(loaded, options)
    keys = [column for column in (id_column, time_column) if column is not None]
    roles = assign_roles(loaded, context.options, Notes())
    reader = ColumnReader(context.options, context.limits, loaded.rows, context.notes)
    channels = _step_columns(_without(loaded.columns, keys), roles, context)
    series_of = _series_numbers(id_column, loaded.rows)
    times = None if time_column is None else read_times(time_column, reader)
    series, observed = _stack([_read_numbers(column, reader) for column in channels], series_of, times, context)
    first = np.unique(series_of, return_index=True)[1]
    others = _without(loaded.columns, [*keys, *channels])
    for column in others:
        if roles[column.name] not in {"ignored", "auto"}:
            _check_constant(column, series_of, first, loaded.rows)
    context.notes.decide("series", f"{len(first)} series", f"rows with the same {options.id} are one series")
    columns = tuple(take_rows(column, first) for column in others)
    table = replace(loaded, rows_read=len(first), rows=loaded.rows[first], columns=columns)
    names = tuple(column.name for column in channels)
    return _finish(table, series, observed, names, [*keys, *channels], channels)


def _key_columns(loaded: Loaded, options: SeriesOptions) -> tuple[Column, Column | None]:
    """Return the columns of the ids and, if there is one, of the times."""
    by_name = {column.name: column for column in loaded.columns}
    for field, name in (("id", options.id), ("time", options.time)):
        if name is not None and name not in by_name:
            message = f"series.{field} names the column {name[:100]!r}, which the file does not have"
            raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("series", field), message)])
    if options.id == options.time:
        message = "series.id and series.time name the same column; they are two"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("series", "time"), message)])
    return by_name[options.id], None if options.time is None else by_name[options.time]


def _without(columns: Sequence[Column], others: Sequence[Column]) -> tuple[Column, ...]:
    names = {column.name for column in others}
    return tuple(column for column in columns if column.name not in names)


def _step_columns(columns: Sequence[Column], roles: dict[str, Assigned], context: Context) -> list[Column]:
    """Return the columns that hold steps: those with the role input, or else all numbers without another role.

    Values that the options list as missing are missing in them.
    """
    notes, listed = context.notes, context.options.missing_values
    open_columns = [column for column in columns if roles[column.name] in {"input", "auto"}]
    given = [without_missing_values(column, listed, notes) for column in open_columns]
    inputs = [column for column in given if roles[column.name] == "input"]
    free = [column for column in given if roles[column.name] == "auto"]
    steps = inputs or [column for column in free if not _is_text(column)]
    for column in _without(free, steps):
        hint = "if it says something of a whole series, give it the role target or group"
        notes.notice(f"column {column.name} is left out: series hold the numbers of other columns; {hint}")
    if not steps:
        raise DatasetError(Code.NO_INPUTS, "no column is left to hold steps of the series; give some the role input")
    return steps


def _is_text(column: Column) -> bool:
    """Return whether most values of a column are no numbers."""
    if not isinstance(column, TextColumn):
        return isinstance(column, DateColumn | LabelsColumn)
    parsed = parse_numbers(column.values)
    numbers, foreign = int(np.isfinite(parsed.values).sum()), int(parsed.foreign.sum())
    return column.typed or numbers < MIN_NUMBER_SHARE * (numbers + foreign)


def _read_numbers(column: Column, reader: ColumnReader) -> Floats:
    """Return a column of steps (rows,); one without any value is all missing."""
    values = reader.read(column, "number")
    if isinstance(values, Unusable):
        return np.full(len(reader.rows), np.nan)
    assert isinstance(values, Numbers)
    return values.values


def _series_numbers(column: Column, rows: Ints) -> Ints:
    """Return the number of the series of each row, (rows,); series are numbered by their first rows."""
    codes = _codes(column)
    missing = np.flatnonzero(np.isnan(codes))
    if len(missing):
        row = int(rows[missing[0]])
        message = f"column {column.name} says which series a row belongs to; {len(missing)} rows have none"
        raise DatasetError(Code.BAD_SERIES, message, [RowError((column.name,), message, row)])
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse]


def _codes(column: Column) -> Floats:
    """Return numbers that are equal where the column's values are equal, (rows,); NaN = missing."""
    if not isinstance(column, TextColumn):
        return column.values
    text = pc.utf8_trim_whitespace(column.values)
    known = pc.unique(text.filter(pc.not_equal(text, "")))
    return np.array(pc.index_in(text, known).to_numpy(zero_copy_only=False), dtype=np.float64)


def _stack(channels: list[Floats], series_of: Ints, times: Floats | None, context: Context) -> tuple[Floats, Bools]:
    """Stack channels (rows,) into series float64 (S, T, C), padded with NaN; return also which have any value, (S,)."""
    order = np.argsort(series_of, kind="stable") if times is None else np.lexsort((times, series_of))
    lengths = np.bincount(series_of)
    if times is not None:
        repeated = (np.diff(series_of[order]) == 0) & (np.diff(times[order]) == 0)
        if repeated.any():
            context.notes.notice(f"{int(repeated.sum())} rows have the time of another row of their series; both stay")
    out = open_series((len(lengths), int(lengths.max()), len(channels)), context)
    for start in range(0, len(out), 1024):
        out[start : start + 1024] = np.nan
    # Of each row, in the order of series and times, the step within its series.
    steps = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    observed = np.zeros(len(out), dtype=np.bool_)
    for channel, values in enumerate(channels):
        out[series_of[order], steps, channel] = values[order]
        observed[series_of[~np.isnan(values)]] = True
    return out, observed


def _check_constant(column: Column, series_of: Ints, first: Ints, rows: Ints) -> None:
    """Refuse a label, group or split that changes within a series."""
    codes = np.nan_to_num(_codes(column), nan=-np.inf)
    changed = np.flatnonzero(codes != codes[first][series_of])
    if len(changed):
        row = int(rows[changed[0]])
        message = f"column {column.name} changes within a series (row {row}); all rows of one say the same"
        raise DatasetError(Code.BAD_SERIES, message, [RowError((column.name,), message, row)])


def _finish(
    table: Loaded,
    series: Floats,
    observed: Bools,
    channels: tuple[str, ...],
    input_columns: list[Column],
    value_columns: list[Column],
) -> Loaded:
    """Return the table with its series (S, T, C) as inputs, without series that have no value.

    `input_columns` became the series, keys and all; `value_columns` of them hold the values.
    """
    if not observed.any():
        raise DatasetError(Code.EMPTY_DATASET, f"none of the {len(observed)} series holds any value; add some")
    positions = np.flatnonzero(observed)
    return replace(
        table,
        modality="series",
        rows=table.rows[positions],
        inputs=_compact(series, positions),
        columns=tuple(take_rows(column, positions) for column in _without(table.columns, input_columns)),
        corrupt=EmptyRows(table.rows[~observed], "the series holds no value"),
        channels=channels,
        input_names=tuple(column.name for column in input_columns),
        decimals=tuple(column.decimal if isinstance(column, TextColumn) else None for column in value_columns),
    )


def _compact(series: Floats, positions: Ints) -> Floats:
    """Move the series at `positions`, which ascend, to the front of the same array, and return them."""
    if len(positions) == len(series):
        return series
    for rows in row_chunks(series[: len(positions)]):
        series[rows] = series[positions[rows]]
    return series[: len(positions)]
