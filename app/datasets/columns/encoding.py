"""Encodes columns as numbers: inputs, targets, groups, times and given splits."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.columns.free_text import names_rows
from app.datasets.columns.inputs import encode_inputs
from app.datasets.columns.missing_values import (
    warn_of_array_sentinels,
)
from app.datasets.columns.roles import SPLIT_WORDS, Assigned, assign_roles
from app.datasets.columns.target_encoding import encode_targets
from app.datasets.columns.type_inference import ColumnReader
from app.datasets.columns.values import Categories, Dates, Numbers, Unusable
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bools, Bytes, Column, Floats, Frame, Inputs, Loaded
from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.texts import Texts
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.ml.spec import ColumnSpec


def encode_columns(loaded: Loaded, context: Context) -> Frame:
    """Assign roles and types to all columns and return the rows as numbers.

    Raises:
        DatasetError: the columns and the options do not fit together; names the rows at fault, if any.
    """
    options, notes = context.options, context.notes
    _check_options(loaded, options)
    roles = assign_roles(loaded, options, notes)
    reader = ColumnReader(options, context.limits, loaded.rows, notes)
    specs, targets = encode_targets(loaded, roles, options, reader)
    single = {roles[column.name]: column for column in loaded.columns}
    given = _given_split(single["split"], reader) if "split" in single else None
    groups = _groups(single["group"], reader) if "group" in single else None
    times = read_times(single["time"], reader) if "time" in single else None
    texts: dict[str, Any] = {}
    if loaded.inputs is not None:
        inputs: Inputs = loaded.inputs
        columns = _array_columns(loaded, nullable=options.missing == "impute")
        if columns and not isinstance(inputs, Texts):
            warn_of_array_sentinels(inputs, [column.name for column in columns], loaded.rows, notes)
    else:
        chosen = [column for column in loaded.columns if roles[column.name] in {"input", "auto"}]
        chosen = _without_row_ids(chosen, roles, options, notes)
        inputs, columns, texts = encode_inputs(chosen, roles, loaded.types | options.types, reader.rows, context)
        if not specs:
            _notice_no_target(columns, notes)
    return Frame(
        modality=loaded.modality,
        inputs=inputs,
        columns=columns,
        targets=targets,
        target_specs=specs,
        rows=loaded.rows,
        given_split=given,
        groups=groups,
        value_scale=loaded.value_scale,
        background=loaded.background,
        pixel_range=loaded.pixel_range,
        times=times,
        windows=loaded.windows,
        texts=texts,
    )


def _notice_no_target(columns: tuple[ColumnSpec, ...], notes: Notes) -> None:
    """Say that a table has no target, and how to name one; the last column is the example, as it often is one."""
    request = f'columns={{"{columns[-1].name}": "target"}}'
    notes.notice(f"no column is a target: none is called label, target, class or y; {request} makes one of a column")


def _check_options(loaded: Loaded, options: PrepareOptions) -> None:
    """Refuse options that do not apply to this kind of file."""
    if options.modality not in (None, loaded.modality):
        message = f"the file holds {loaded.modality} data and modality says {options.modality}; correct one of them"
        if loaded.format in {"npy", "npz"}:
            message += "; arrays of images have the shape (N, H, W) or (N, H, W, C), of series (N, T) or (N, T, C)"
        raise DatasetError(Code.WRONG_MODALITY, message, [RowError(("modality",), message)])
    if options.image is not None and loaded.modality != "image":
        message = f"image sets the size of images, and this file holds {loaded.modality} data; leave it out"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("image",), message)])
    if options.folders is not None and loaded.format != "zip":
        message = "folders says what the folders of a zip are, and this file has none; leave it out"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("folders",), message)])
    if options.missing_values and loaded.modality in {"image", "text"}:
        message = f"missing_values names numbers and categories that are missing, and this file holds {loaded.modality}"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("missing_values",), f"{message}; leave it out")])
    if options.text is not None and loaded.format != "text":
        message = "text says how plain text is cut into rows; the rows of this file are given, so leave it out"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("text",), message)])
    inputs = [name for name, role in options.columns.items() if role == "input" and name not in loaded.input_names]
    if inputs and loaded.inputs is not None:
        message = f"{inputs[0]} cannot be an input: the {loaded.modality} rows are; call it target, group or ignored"
        raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns", inputs[0]), message)])


def _array_columns(loaded: Loaded, *, nullable: bool) -> tuple[ColumnSpec, ...]:
    """Describe the columns of a plain matrix, or channels of series; all are kept, as their position is their name."""
    inputs = loaded.inputs
    if loaded.modality not in {"table", "series"} or inputs is None or isinstance(inputs, Texts):
        return ()
    names = loaded.channels or tuple(f"x{j}" for j in range(inputs.shape[-1]))
    has_value = _has_value(inputs)
    if not has_value.all():
        name = names[int(np.flatnonzero(~has_value)[0])]
        what = "channel" if loaded.modality == "series" else "column"
        message = f"{what} {name} holds no value; remove it"
        raise DatasetError(Code.EMPTY_COLUMN, message, [RowError((name,), message)])
    signs = {*loaded.decimals} - {None}
    common = signs.pop() if len(signs) == 1 else None
    decimals = loaded.decimals if len(loaded.decimals) == len(names) else [common] * len(names)
    return tuple(
        ColumnSpec(name=name, type="number", nullable=nullable, decimal=decimal)
        for name, decimal in zip(names, decimals, strict=True)
    )


def _has_value(inputs: npt.NDArray[Any]) -> Bools:
    """Return for each column of (N, D), or channel of (N, T, C), whether any row has a value in it."""
    has_value = np.zeros(inputs.shape[-1], dtype=np.bool_)
    for rows in row_chunks(inputs):
        has_value |= ~np.isnan(inputs[rows]).all(axis=tuple(range(inputs.ndim - 1)))
        if has_value.all():
            break
    return has_value


def _without_row_ids(
    chosen: list[Column], roles: dict[str, Assigned], options: PrepareOptions, notes: Notes
) -> list[Column]:
    """Return the columns without those that only name the rows, unless the user gave them a role or a type."""
    ids = [
        column
        for column in chosen
        if roles[column.name] == "auto" and column.name not in options.types and names_rows(column)
    ]
    if len(ids) == len(chosen):
        return chosen
    for column in ids:
        reason = "it is called an id, and every row has another one"
        notes.decide(f"columns.{column.name}", "ignored", reason, option=f'columns={{"{column.name}": "input"}}')
        notes.notice(f"column {column.name} is left out: {reason}")
    return [column for column in chosen if column not in ids]


def _given_split(column: Column, reader: ColumnReader) -> Bytes:
    """Return the split of each row, 0, 1 or 2, from a column of these numbers or of names, (N,)."""
    values = reader.read(column, None)
    codes = np.full(len(reader.rows), np.nan)
    if isinstance(values, Numbers):
        codes = np.where(np.isin(values.values, (0, 1, 2)), values.values, np.nan)
    elif isinstance(values, Categories):
        code_of_name = np.array([SPLIT_WORDS.get(name.strip().casefold(), np.nan) for name in values.names])
        known = ~np.isnan(values.codes)
        codes[known] = code_of_name[values.codes[known].astype(np.int64)]
    if np.isnan(codes).any():
        row = int(reader.rows[np.flatnonzero(np.isnan(codes))[0]])
        message = f"column {column.name} says train, validation or test (or 0, 1, 2) in every row; row {row} does not"
        raise DatasetError(Code.BAD_SPLIT, message, [RowError((column.name,), message, row)])
    return codes.astype(np.uint8)


def read_times(column: Column, reader: ColumnReader) -> Floats:
    """Return the time of each row, (N,): numbers, or days since 1970-01-01.

    Raises:
        DatasetError: bad_time: the column holds something else, or lacks a value in some rows.
    """
    values = reader.read(column, None, dates=True, codes=False)
    if not isinstance(values, Numbers | Dates):
        message = f"column {column.name} says the time of rows and holds neither numbers nor ISO 8601 dates"
        raise DatasetError(Code.BAD_TIME, message, [RowError((column.name,), message)])
    missing = np.flatnonzero(np.isnan(values.values))
    if len(missing):
        message = f"column {column.name} says the time of rows and gives none in {len(missing)} of them; fill them"
        raise DatasetError(Code.BAD_TIME, message, [RowError((column.name,), message, int(reader.rows[missing[0]]))])
    return values.values


def _groups(column: Column, reader: ColumnReader) -> npt.NDArray[np.uint64]:
    """Return a digest of each row's group, (N,); it does not depend on the order of the rows."""
    values = reader.read(column, "category")
    if isinstance(values, Unusable) or (isinstance(values, Categories) and np.isnan(values.codes).any()):
        message = f"column {column.name} names the group of every row; some rows have none"
        raise DatasetError(Code.BAD_GROUP, message, [RowError((column.name,), message)])
    if isinstance(values, Numbers | Dates):
        values = reader.as_categories(column.name, Numbers(values.values))
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in values.names]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)[values.codes.astype(np.int64)]
