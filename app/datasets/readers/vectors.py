"""Lists of numbers in rows: embeddings, which become columns of a table, or series."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import pyarrow.types as pt

from app.datasets.columns.names import is_called_label, words_of
from app.datasets.columns.roles import assign_roles
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Floats, Ints, Loaded, NumberColumn, TextColumn
from app.datasets.readers.collectors import SeriesRows, take_rows
from app.datasets.readers.json_values import channel_names, to_series
from app.datasets.readers.names import check_names
from app.datasets.readers.text_columns import labels_beside
from app.datasets.report import Notes

Kind = Literal["table", "series"]
UNORDERED = frozenset(
    {
        "embedding",
        "emb",
        "vector",
        "feature",
        "hidden",
        "latent",
        "representation",
        "logit",
        "pixel",
        "coordinate",
        "bbox",
    }
)
SERIES = frozenset(
    {
        "serie",
        "series",
        "signal",
        "ecg",
        "eeg",
        "emg",
        "ppg",
        "wave",
        "waveform",
        "history",
        "sequence",
        "trace",
        "audio",
    }
)
MIN_ORDERED = 8
MAX_STEP_SHARE = 0.5
SAMPLED_ROWS = 1000


def choose_kind(name: str, lengths: tuple[int, int], sample: Floats, context: Context) -> Kind:
    """Return whether lists of numbers, of `lengths` (shortest, longest), become columns of a table or series.

    The user says so; else their lengths, the column's name, or whether neighbours are alike in a `sample` (n, T) of
    them, NaN = missing. Lists without any of that are columns.

    Raises:
        DatasetError: bad_series: a table is asked for, and the lists have different lengths.
    """
    shortest, longest = lengths
    modality = context.options.modality
    if modality == "table" and shortest != longest:
        message = f"column {name} holds lists of {shortest} to {longest} numbers, and a table needs as many in each row"
        raise DatasetError(Code.BAD_SERIES, f'{message}; modality="series" reads series', [RowError((name,), message)])
    if modality in {"table", "series"}:
        return "table" if modality == "table" else "series"
    if shortest != longest:
        reason = f"rows hold lists of {shortest} to {longest} numbers"
        context.notes.decide("modality", "series", f"column {name}: {reason}", f'columns={{"{name}": "ignored"}}')
        return "series"
    kind, why = _kind_of_equal(name, sample)
    held = f"every row holds {longest} numbers, {why}"
    if kind == "table":
        reason = f"{held}: they are columns {name}0 to {name}{longest - 1}"
        context.notes.decide(f"columns.{name}", "columns", reason, option='modality="series"')
    else:
        context.notes.decide("modality", "series", f"column {name}: {held}", option='modality="table"')
    return kind


def _kind_of_equal(name: str, sample: Floats) -> tuple[Kind, str]:
    """Return what lists of one length are, and the evidence."""
    for word in reversed(words_of(name)):
        if word in UNORDERED | SERIES:
            return ("series" if word in SERIES else "table"), f"and {name} is what such are called"
    share = step_share(sample)
    if share is None:
        return "table", "too few to show an order"
    shown = f"steps to the next one are {share:.2f} of those to far ones, squared"
    return ("series", f"in an order: {shown}") if share < MAX_STEP_SHARE else ("table", f"in no order: {shown}")


def step_share(sample: Floats) -> float | None:
    """Return how far neighbours in lists (n, T) differ against numbers half a list apart: about 1 without order.

    It is the ratio of mean squared differences (as von Neumann's, 1941) of numbers that are standardised over the rows,
    so that columns of different scales show no order. None where the lists are short, or equal.
    """
    length = sample.shape[1]
    if length < MIN_ORDERED:
        return None
    filled = np.where(np.isnan(sample), np.nanmean(sample) if np.isfinite(sample).any() else 0.0, sample)
    spread = filled.std(axis=0)
    standard = (filled - filled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    far = float(np.mean((standard[:, length // 2 :] - standard[:, : -(length // 2)]) ** 2))
    near = float(np.mean((standard[:, 1:] - standard[:, :-1]) ** 2))
    return near / far if far > 0 else None


def with_vectors(loaded: Loaded, vectors: dict[str, Any], context: Context) -> Loaded:
    """Return the table with Arrow lists of numbers, {name: N lists}, as columns, or as the series that it is about.

    Raises:
        DatasetError: bad_series, too_large, bad_name or duplicate_columns.
    """
    kinds: dict[str, Kind] = {}
    for name, values in vectors.items():
        if _is_nested(values):
            kinds[name] = "series"
            context.notes.decide("modality", "series", f"column {name}: rows hold lists of steps")
        else:
            kinds[name] = choose_kind(name, _lengths(name, values), _sample(values), context)
    series = [name for name, kind in kinds.items() if kind == "series"]
    if len(series) > 1:
        shown = ", ".join(series[:10])
        message = f"a row holds one series, and there are several columns of them: {shown}; ignore all but one"
        raise DatasetError(Code.BAD_SERIES, message, [RowError((name,), message) for name in series[:10]])
    for name, values in vectors.items():
        if kinds[name] == "table":
            loaded = _with_columns(loaded, name, values, context)
    return _with_series(loaded, series[0], vectors[series[0]], context) if series else loaded


def series_as_columns(table: Loaded, name: str, series: Any, rows: Ints, context: Context) -> Loaded:
    """Return the table (N rows) with the series of one channel and length (n, T, 1) of `rows` (n,) as columns."""
    matrix = np.full((series.shape[1], len(table.rows)), np.nan)
    matrix[:, rows] = series[:, :, 0].T
    return _add_columns(table, name, matrix, context)


def finish_series(loaded: Loaded, context: Context) -> Loaded:
    """Find the target next to series that have none, and report the columns that are left out."""
    roles = assign_roles(loaded, context.options, Notes())
    others = [column for column in loaded.columns if roles[column.name] == "auto"]
    target = None
    if "target" not in roles.values() and all(isinstance(c, TextColumn) or is_called_label(c.name) for c in others):
        target = labels_beside("the series", others, context.notes)
    left_out = [column.name for column in others if column.name != target]
    if left_out:
        hint = "give one the role target or group if it says something of a whole series"
        context.notes.notice(f"columns left out, as the rows are series: {', '.join(left_out[:20])}; {hint}")
    return loaded if target is None else replace(loaded, roles=loaded.roles | {target: "target"})


def _is_nested(values: Any) -> bool:
    inner = values.type.value_type
    return bool(pt.is_list(inner) or pt.is_large_list(inner) or pt.is_fixed_size_list(inner))


def _lengths(name: str, values: Any) -> tuple[int, int]:
    lengths = pc.min_max(pc.list_value_length(values)).as_py()
    if not lengths["max"]:
        message = f'column {name} holds no numbers; leave it out with columns={{"{name}": "ignored"}}'
        raise DatasetError(Code.EMPTY_COLUMN, message, [RowError((name,), message)])
    return int(lengths["min"]), int(lengths["max"])


def _sample(values: Any) -> Floats:
    """Return the first lists as (n, T), NaN after their ends."""
    rows = list(islice(_rows(values), SAMPLED_ROWS))
    sample = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for row, numbers in zip(sample, rows, strict=True):
        row[: len(numbers)] = numbers[:, 0]
    return sample


def _with_columns(loaded: Loaded, name: str, values: Any, context: Context) -> Loaded:
    """Return the table with a number column for each place of lists of one length."""
    width = _lengths(name, values)[1]
    if width * len(values) > context.limits.cells or width > context.limits.columns:
        message = f"column {name} holds {width} numbers a row, which are too many; leave some out"
        raise DatasetError(Code.TOO_LARGE, message, [RowError((name,), message)])
    matrix = np.full((width, len(values)), np.nan)
    start = 0
    for chunk in values.chunks:
        present = np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False))
        matrix[:, start + present] = _flat(chunk).reshape(-1, width).T
        start += len(chunk)
    return _add_columns(loaded, name, matrix, context)


def _add_columns(loaded: Loaded, name: str, matrix: Floats, context: Context) -> Loaded:
    """Return the table with the rows of `matrix` (K, N) as columns name0 .. nameK-1, of the role of the name."""
    whole = bool((matrix == np.floor(matrix)).all())
    columns = tuple(NumberColumn(f"{name}{k}", values, whole=whole) for k, values in enumerate(matrix))
    check_names([column.name for column in (*loaded.columns, *columns)], context.limits)
    role = context.options.columns.get(name)
    roles = {} if role is None else {column.name: role for column in columns}
    return replace(
        loaded,
        columns=loaded.columns + columns,
        roles=loaded.roles | roles,
        input_names=tuple(dict.fromkeys([*loaded.input_names, name])),
    )


def _flat(chunk: Any) -> Floats:
    return np.array(chunk.flatten().cast("double").to_numpy(zero_copy_only=False), dtype=np.float64)


def _rows(values: Any) -> Iterator[Floats]:
    """Yield each row as (steps, channels)."""
    nested = _is_nested(values)
    for chunk in values.chunks:
        for row in chunk:
            if not row.is_valid:
                yield np.empty((0, 1))
            elif nested:
                yield to_series([None if step is None else list(step) for step in row.as_py()])
            else:
                numbers = row.values.cast("double").to_numpy(zero_copy_only=False)
                yield np.array(numbers, dtype=np.float64).reshape(-1, 1)


def _with_series(loaded: Loaded, name: str, values: Any, context: Context) -> Loaded:
    with closing(SeriesRows(context)) as rows:
        try:
            for row in _rows(values):
                rows.add(row)
        except ValueError as error:
            message = f"row {rows.count}: the series in {name} {error}"
            raise DatasetError(Code.BAD_SERIES, message, [RowError((name,), message, rows.count)]) from None
        inputs, kept = rows.finish()
    columns: tuple[Column, ...] = tuple(take_rows(column, kept.positions) for column in loaded.columns)
    series = replace(
        loaded,
        modality="series",
        rows=kept.positions,
        inputs=inputs,
        columns=columns,
        corrupt=kept.empty,
        channels=channel_names(name, inputs.shape[2]),
        input_names=(name,),
    )
    return finish_series(series, context)
