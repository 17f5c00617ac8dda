"""Puts what several files hold below each other: columns of one name, and inputs of one kind."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pyarrow as pa

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, DateColumn, LabelsColumn, Loaded, NumberColumn, TextColumn
from app.datasets.readers.collectors import open_series

Files: TypeAlias = Sequence[tuple[str, Loaded]]
KINDS: dict[type[Column], str] = {
    NumberColumn: "numbers",
    TextColumn: "text",
    DateColumn: "dates",
    LabelsColumn: "lists of labels",
}


def join_columns(name: str, files: Files) -> Column:
    """Return the column `name` of all files, (N,): missing values where a file lacks it.

    Raises:
        DatasetError: mixed_types: it holds numbers in one file and text in another, say.
    """
    pieces: list[tuple[str, Column | None, int]] = []
    for file, loaded in files:
        column = next((column for column in loaded.columns if column.name == name), None)
        pieces.append((file, None if column is None or _is_blank(column) else column, len(loaded.rows)))
    known = [(file, column) for file, column, _ in pieces if column is not None]
    if not known:
        return NumberColumn(name, np.full(sum(count for _, _, count in pieces), np.nan))
    first_file, first = known[0]
    for file, column in known:
        if type(column) is not type(first):
            _refuse_types(name, (first_file, first), (file, column))
    whole = [_filled(column, first, count) for _, column, count in pieces]
    return concatenated(whole)


def _is_blank(column: Column) -> bool:
    """Return whether a column declares numbers and holds none: those of JSON that are null everywhere."""
    return isinstance(column, NumberColumn) and not column.boolean and bool(np.isnan(column.values).all())


def _filled(column: Column | None, like: Column, count: int) -> Column:
    """Return the column, or one of `count` missing values of the kind of `like`."""
    if column is not None:
        return column
    if isinstance(like, TextColumn | LabelsColumn):
        return replace(like, values=pa.chunked_array([pa.nulls(count, like.values.type)]))
    return replace(like, values=np.full(count, np.nan))


def concatenated(columns: Sequence[Any]) -> Column:
    """Return columns of one kind below each other; what they do not agree on, such as a decimal sign, is not known."""
    first: Column = columns[0]
    if isinstance(first, NumberColumn):
        values = np.concatenate([column.values for column in columns])
        whole, boolean = all(column.whole for column in columns), all(column.boolean for column in columns)
        return replace(first, values=values, whole=whole, boolean=boolean)
    if isinstance(first, DateColumn):
        return replace(first, values=np.concatenate([column.values for column in columns]))
    chunks = [chunk for column in columns for chunk in pa.chunked_array(column.values).chunks]
    values = pa.chunked_array(chunks, first.values.type)
    if isinstance(first, TextColumn):
        decimal, sign = _agreed([c.decimal for c in columns]), _agreed([c.sign for c in columns])
        return replace(first, values=values, decimal=decimal, sign=sign)
    return replace(first, values=values)


def _agreed(values: Sequence[Any]) -> Any:
    """Return what all files that know it say; None where they differ."""
    known = {*values} - {None}
    return known.pop() if len(known) == 1 else None


def join_inputs(files: Files, context: Context) -> Any:
    """Return the inputs of all files, (N, ...): series, filled up with NaN, or images of one size; None for tables.

    Raises:
        DatasetError: mixed_types, bad_image, bad_series, too_large or unsupported_format.
    """
    (first_file, first), *others = files
    for file, loaded in others:
        if loaded.modality != first.modality or (loaded.inputs is None) != (first.inputs is None):
            message = f"{first_file!r} is read as {first.modality} and {file!r} as {loaded.modality}; say modality, "
            _refuse(Code.MIXED_TYPES, f"{message}or make the files alike", "modality")
    if first.inputs is None:
        return None
    if first.modality == "series":
        return _join_series(files, context)
    if first.modality == "image":
        return _join_images(files, context)
    message = f"the archive holds {len(files)} files that are no tables: write them as .txt files, or upload one"
    raise DatasetError(Code.UNSUPPORTED_FORMAT, message)


def _join_series(files: Files, context: Context) -> Any:
    arrays = [np.asarray(loaded.inputs) for _, loaded in files]
    for (file, _), array in zip(files, arrays, strict=True):
        if array.shape[2] != arrays[0].shape[2]:
            message = f"series have {arrays[0].shape[2]} channels in {files[0][0]!r} and {array.shape[2]} in {file!r}; "
            _refuse(Code.BAD_SERIES, f"{message}make them alike", file)
    steps = max(array.shape[1] for array in arrays)
    out = open_series((sum(map(len, arrays)), steps, arrays[0].shape[2]), context)
    start = 0
    for array in arrays:
        out[start : start + len(array), : array.shape[1]] = array
        out[start : start + len(array), array.shape[1] :] = np.nan
        start += len(array)
    return out


def _join_images(files: Files, context: Context) -> Any:
    (first_file, first), *_ = files
    arrays = [np.asarray(loaded.inputs) for _, loaded in files]
    for (file, loaded), array in zip(files, arrays, strict=True):
        size, other = arrays[0].shape[1:], array.shape[1:]
        if size != other or (loaded.background, loaded.pixel_range) != (first.background, first.pixel_range):
            message = (
                f"images are read as {size} in {first_file!r} and as {other} in {file!r}, or drawn in another way; "
            )
            message += 'say it for all, such as image={"height": 64, "width": 64, "mode": "rgb", "background": "white"}'
            _refuse(Code.BAD_IMAGE, message, "image")
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    if np.prod(shape, dtype=np.float64) > context.limits.canonical_bytes:
        _refuse(
            Code.TOO_LARGE, f"{shape[0]} images of {shape[1]} x {shape[2]} are too large; make them smaller", "image"
        )
    out = np.lib.format.open_memmap(context.scratch / "joined.npy", mode="w+", dtype=np.uint8, shape=shape)
    start = 0
    for array in arrays:
        out[start : start + len(array)] = array
        start += len(array)
    return out


def _refuse_types(name: str, first: tuple[str, Column], other: tuple[str, Column]) -> NoReturn:
    holds = " and ".join(f"{KINDS[type(column)]} in {file!r}" for file, column in (first, other))
    message = f'column {name} holds {holds}; make them alike, or leave it out with columns={{"{name}": "ignored"}}'
    _refuse(Code.MIXED_TYPES, message, name)


def _refuse(code: Code, message: str, where: str) -> NoReturn:
    raise DatasetError(code, message, [RowError((where,), message)])
