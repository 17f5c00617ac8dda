"""Reads NumPy files: .npy holds `x`; .npz holds `x` and optionally `y` (labels), `split` and `lengths` (of series).

Other names of these arrays are understood, too (app.datasets.readers.array_names).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.datasets.columns.missing_values import MissingNumbers
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, ColumnType, Ints, Loaded, NumberColumn, Role, TextColumn
from app.datasets.frames.chunks import row_chunks
from app.datasets.options import PrepareOptions
from app.datasets.readers.archive import archive_error, open_archive, read_chunks
from app.datasets.readers.array_images import CHANNELS, channels_last, read_array_images
from app.datasets.readers.array_names import named_arrays
from app.datasets.readers.collectors import EmptyRows, open_series, take_rows
from app.datasets.readers.npy import bad_array, open_array
from app.ml.spec import WarningCode

Array = npt.NDArray[Any]
X = "x"
LENGTHS = "lengths"
MAX_LABELS = 64
CHUNK_BYTES = 8 << 20
MAX_CHARACTERS = 255
MAX_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
MAX_ROW_ERRORS = 20
MAX_EXACT, LARGE_BYTES = 2**53, 8  # whole numbers that float64 holds; fewer bytes hold none beyond
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class _Labels:
    """Columns of labels and splits, with the roles and types that the arrays declare of them."""

    columns: tuple[Column, ...]
    roles: dict[str, Role]
    types: dict[str, ColumnType]


def read_npy(path: Path, context: Context) -> Loaded:
    """Read one array of images or rows."""
    return _load("npy", {X: open_array(path, X)}, context)


def read_npz(path: Path, context: Context) -> Loaded:
    """Read the arrays of an .npz: its members are unpacked into the scratch folder, within the limits, and mapped."""
    arrays: dict[str, Array] = {}
    with open_archive(path, context.limits) as (archive, members):
        for number, member in enumerate(members):
            name = member.filename.removesuffix(".npy")
            if not member.filename.endswith(".npy"):
                raise archive_error(Code.BAD_ARRAY, f"{name!r} in the .npz is no array; save it with numpy.savez", name)
            target = context.scratch / f"member{number}.npy"
            with target.open("wb") as file:
                for chunk in read_chunks(archive, member, context.limits.unpacked_bytes):
                    file.write(chunk)
            arrays[name] = open_array(target, name)
    return _load("npz", named_arrays(arrays, context), context)


def _load(kind: str, arrays: dict[str, Array], context: Context) -> Loaded:
    """Return the arrays of a file of format `kind` as images, series, a matrix or columns, with their labels."""
    if context.options.modality != "series":
        arrays = {**arrays, X: channels_last(arrays[X], context.notes)}
    x = arrays[X]
    rows = _check_x(x, context)
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != rows:
            raise bad_array(name, f"it has shape {array.shape} and x has {rows} rows; give one entry per row")
    labels = _labels(arrays, context)
    if context.options.modality == "series":
        return _series(kind, arrays, labels, context)
    if LENGTHS in arrays:
        raise bad_array(LENGTHS, 'it belongs to series; give the modality "series", or leave it out')
    if x.ndim > 2:  # noqa: PLR2004 - (N, H, W) and (N, H, W, C)
        images = read_array_images(x, context)
        return Loaded(
            format=kind,
            modality="image",
            rows_read=rows,
            rows=np.arange(rows),
            inputs=images.pixels,
            columns=labels.columns,
            roles=labels.roles,
            types=labels.types,
            value_scale=images.value_scale,
            background=context.options.image.background if context.options.image else None,
            pixel_range=images.pixel_range,
        )
    columns, inputs = labels.columns, None
    if _names_inputs(x, context.options):
        columns = (*(_numbers(f"x{j}", x[:, j]) for j in range(x.shape[1])), *columns)
    else:
        inputs = _matrix(x, context)
    return Loaded(kind, "table", rows, np.arange(rows), inputs, columns, labels.roles, labels.types)


def _check_x(x: Array, context: Context) -> int:
    """Refuse arrays that are neither images nor rows, nor series where the user chose these; return the rows."""
    if context.options.modality == "series":
        if x.ndim not in {2, 3}:
            raise bad_array(X, f"shape {x.shape} is no series; they are (N, T), or (N, T, C) with C channels")
    elif x.ndim not in {2, 3, 4} or (x.ndim == 4 and x.shape[3] not in CHANNELS):  # noqa: PLR2004
        problem = f"shape {x.shape} is neither images (N, H, W), (N, H, W, C) with C of 1, 3 or 4, nor rows (N, D)"
        if x.ndim == 1:
            problem += "; save one number a row as x[:, numpy.newaxis], and one row as x[numpy.newaxis]"
        raise bad_array(X, problem)
    if x.size == 0:
        raise DatasetError(Code.EMPTY_DATASET, "array x holds no values; upload at least one row")
    if x.dtype.kind == "U":
        raise bad_array(X, "it holds text; upload text columns as CSV, JSON Lines or Parquet")
    _check_size(x, context)
    return int(x.shape[0])


def _check_size(x: Array, context: Context) -> None:
    limits = context.limits
    if x.shape[0] > limits.rows:
        raise DatasetError(Code.TOO_LARGE, f"array x has {x.shape[0]} rows; at most {limits.rows} are taken")
    is_table = x.ndim == 2 and context.options.modality != "series"  # noqa: PLR2004 - (N, D)
    if is_table and (x.shape[1] > limits.columns or x.size > limits.cells):
        message = f"array x has shape {x.shape}; at most {limits.columns} columns and {limits.cells} cells are taken"
        raise DatasetError(Code.TOO_LARGE, f"{message}; upload images as (N, H, W)")


def _series(kind: str, arrays: dict[str, Array], labels: _Labels, context: Context) -> Loaded:
    """Return x (N, T) or (N, T, C) as series, cut at their lengths, without those that have no value."""
    x = arrays[X]
    _warn_of_channels(x, context)
    _warn_of_large(x, context)
    out = open_series((x.shape[0], x.shape[1], x.shape[2] if x.ndim == 3 else 1), context)  # noqa: PLR2004
    lengths = _lengths(arrays.get(LENGTHS), x)
    missing = MissingNumbers(context.options.missing_values)
    kept: list[Array] = []
    count = 0
    for rows in row_chunks(x, CHUNK_BYTES):
        chunk = x[rows]
        series = chunk.reshape(len(chunk), *out.shape[1:]).astype(np.float64)
        series[np.arange(series.shape[1]) >= lengths[rows, None]] = np.nan
        missing.blank(series)
        _check_finite(series, rows.start, context.options)
        observed = np.flatnonzero(~np.isnan(series).all(axis=(1, 2)))
        out[count : count + len(observed)] = series[observed]
        count += len(observed)
        kept.append(rows.start + observed)
    missing.note(context.notes)
    positions = np.concatenate(kept)
    if not count:
        raise DatasetError(Code.EMPTY_DATASET, f"none of the {len(x)} series holds any value; add some")
    return Loaded(
        format=kind,
        modality="series",
        rows_read=len(x),
        rows=positions,
        inputs=out[:count],
        columns=tuple(take_rows(column, positions) for column in labels.columns),
        roles=labels.roles,
        types=labels.types,
        corrupt=EmptyRows(np.setdiff1d(np.arange(len(x)), positions), "the series holds no value"),
        channels=tuple(f"x{channel}" for channel in range(out.shape[2])),
    )


def _warn_of_large(x: Array, context: Context) -> None:
    """Warn of whole numbers from 2^53 on, which float64 rounds, so that different rows may become equal."""
    if x.dtype.kind not in "iu" or x.dtype.itemsize < LARGE_BYTES:
        return
    count = 0
    for rows in row_chunks(x, CHUNK_BYTES):
        count += int(((x[rows] >= MAX_EXACT) | (x[rows] <= -MAX_EXACT)).sum())
    if count:
        message = f"array x: {count} whole numbers from 2^53 on were rounded to what a float64 holds"
        remedy = "leave ids out, or store what differs: subtract the smallest number"
        context.notes.warn(WarningCode.DIGITS_LOST, message, count=count, remedy=remedy)


def _warn_of_channels(x: Array, context: Context) -> None:
    """Warn where series (N, T, C) have more channels than steps, as those that are stored as (N, C, T) do."""
    if x.ndim == 3 and x.shape[2] > x.shape[1]:  # noqa: PLR2004 - (N, T, C)
        message = f"array x of shape {x.shape} was read as series of {x.shape[1]} steps and {x.shape[2]} channels"
        remedy = f"save series of {x.shape[2]} steps and {x.shape[1]} channels as numpy.moveaxis(x, 1, 2)"
        context.notes.warn(WarningCode.CHANNELS_FIRST, message, count=len(x), remedy=remedy)


def _lengths(lengths: Array | None, x: Array) -> Ints:
    """Return the steps of each series, (N,); without an array of lengths all steps of x."""
    if lengths is None:
        return np.full(len(x), x.shape[1], dtype=np.int64)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or lengths.min() < 0 or lengths.max() > x.shape[1]:
        raise bad_array(LENGTHS, f"it holds whole numbers of steps, (N,), from 0 to {x.shape[1]}")
    return lengths.astype(np.int64)


def _check_finite(series: Array, start: int, options: PrepareOptions) -> None:
    """Refuse infinite numbers, or make them missing where the user chose missing = impute."""
    infinite = np.abs(series) > FLOAT32_MAX
    if not infinite.any():
        return
    if options.missing != "impute":
        row = start + int(np.argwhere(infinite)[0][0])
        message = f'array x: series {row} holds a number that no model can use; correct it, or set missing to "impute"'
        raise DatasetError(Code.BAD_NUMBER, message, [RowError(("x",), message, row)])
    series[infinite] = np.nan


def _matrix(x: Array, context: Context) -> Array:
    """Return the rows as float64 (N, D); NaN is missing; infinity and what float32 cannot hold is refused."""
    if x.size * 8 > context.limits.canonical_bytes:
        raise DatasetError(Code.TOO_LARGE, f"array x of shape {x.shape} is too large to prepare")
    _warn_of_large(x, context)
    out = np.lib.format.open_memmap(context.scratch / "matrix.npy", mode="w+", dtype=np.float64, shape=x.shape)
    missing = MissingNumbers(context.options.missing_values)
    errors: list[RowError] = []
    for rows in row_chunks(x, CHUNK_BYTES):
        numbers = x[rows].astype(np.float64)
        missing.blank(numbers)
        infinite = np.abs(numbers) > FLOAT32_MAX
        if infinite.any():
            errors += _number_errors(numbers, infinite, rows.start)
            numbers[infinite] = np.nan
        out[rows] = numbers
    missing.note(context.notes)
    if errors and context.options.missing != "impute":
        message = f'array x: {errors[0].msg}; or set missing to "impute"'
        raise DatasetError(Code.BAD_NUMBER, message, errors[:MAX_ROW_ERRORS])
    return out


def _number_errors(numbers: Array, infinite: npt.NDArray[np.bool_], start: int) -> list[RowError]:
    cells = np.argwhere(infinite)[:MAX_ROW_ERRORS]
    return [
        RowError((f"x{j}",), f"{numbers[i, j]:g} is no number that a model can use; correct it", start + int(i))
        for i, j in cells
    ]


def _names_inputs(x: Array, options: PrepareOptions) -> bool:
    """Return whether the options name single columns of x, which then become columns of their own."""
    return any(f"x{j}" in options.columns or f"x{j}" in options.types for j in range(x.shape[1]))


def _numbers(name: str, values: Array) -> NumberColumn:
    kind = values.dtype.kind
    return NumberColumn(name, values.astype(np.float64), whole=kind in "biu", boolean=kind == "b")


def _labels(arrays: dict[str, Array], context: Context) -> _Labels:
    """Return the columns of labels and splits, their roles, and the types that are known."""
    columns: list[Column] = []
    labels = _one_hot(arrays.get("y"), context)
    types: dict[str, ColumnType] = dict.fromkeys(labels, "category")
    for name, y in (labels or _label_arrays(arrays.get("y"))).items():
        column = _text(name, y) if y.dtype.kind == "U" else _numbers(name, y)
        if isinstance(column, NumberColumn) and column.whole and (y == -1).any():
            context.notes.notice(f"target {name}: -1 is a class like any other; give NaN where a label is missing")
        columns.append(column)
    roles: dict[str, Role] = {column.name: "target" for column in columns}
    if "split" in arrays:
        split = _one_dimension("split", arrays["split"])
        columns.append(_text("split", split) if split.dtype.kind == "U" else _numbers("split", split))
        roles["split"] = "split"
    return _Labels(tuple(columns), roles, types)


def _label_arrays(y: Array | None) -> dict[str, Array]:
    if y is None:
        return {}
    if y.ndim == 2 and 1 < y.shape[1] <= MAX_LABELS:  # noqa: PLR2004 - (N, T)
        return {f"label{t}": y[:, t] for t in range(y.shape[1])}
    return {"label": _one_dimension("y", y)}


def _one_hot(y: Array | None, context: Context) -> dict[str, Array]:
    """Return the classes of a one-hot y (N, K), NaN where a row has none, unless options name its columns."""
    if y is None or y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind == "U":  # noqa: PLR2004 - (N, K)
        return {}
    named = {*context.options.columns, *context.options.types}
    if any(f"label{t}" in named for t in range(y.shape[1])) or not _is_one_hot(y):
        return {}
    why = f"y of shape {y.shape} is one-hot: each row holds a single 1, at the number of its class"
    context.notes.decide("label", f"one target of {y.shape[1]} classes", why, 'types={"label0": "category"}')
    return {"label": np.where(np.isnan(y).all(axis=1), np.nan, y.argmax(axis=1))}


def _is_one_hot(y: Array) -> bool:
    """Return whether each row of y (N, K) holds one 1 and zeros, or nothing but NaN where it has no label."""
    known = ~np.isnan(y).all(axis=1)
    labels = y[known]
    return bool(known.any() and ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _one_dimension(name: str, array: Array) -> Array:
    if array.ndim == 2 and array.shape[1] == 1:  # noqa: PLR2004 - (N, 1)
        return array[:, 0]
    if array.ndim != 1:
        raise bad_array(name, f"it has shape {array.shape}; give one value per row, (N,), or up to 64, (N, T)")
    return array


def _text(name: str, values: Array) -> TextColumn:
    if values.dtype.itemsize > 4 * MAX_CHARACTERS:
        raise bad_array(name, f"its texts are longer than {MAX_CHARACTERS} characters")
    raw = np.ascontiguousarray(values)
    code_points = raw.view(np.dtype(np.uint32).newbyteorder(raw.dtype.byteorder))
    if (code_points > MAX_CODE_POINT).any() or ((code_points >= SURROGATES[0]) & (code_points <= SURROGATES[1])).any():
        raise bad_array(name, "it holds characters that are not valid Unicode")
    return TextColumn(name, pa.array(raw.tolist(), pa.string()), typed=True)
