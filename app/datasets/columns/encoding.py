"""Encodes columns as numbers: inputs, targets, groups, times and given splits."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.datasets.columns.label_lists import blank_out, label_targets, split_labels, warn_of_missing_words
from app.datasets.columns.roles import SPLIT_WORDS, TARGET_NAMES, Assigned, assign_roles
from app.datasets.columns.type_inference import (
    MAX_CATEGORIES,
    MAX_CERTAIN_CATEGORIES,
    Categories,
    ColumnReader,
    Dates,
    Numbers,
    Unusable,
    Values,
)
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bools, Bytes, Column, Floats, Frame, Inputs, LabelsColumn, Loaded
from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.texts import Texts
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.ml.spec import ColumnSpec, TargetSpec

TEXT_HINT = 'give the modality "text" to learn from it alone'


def encode_columns(loaded: Loaded, context: Context) -> Frame:
    """Assign roles and types to all columns and return the rows as numbers.

    Raises:
        DatasetError: the columns and the options do not fit together; names the rows at fault, if any.
    """
    options, notes = context.options, context.notes
    _check_options(loaded, options)
    roles = assign_roles(loaded, options, notes)
    reader = ColumnReader(options, context.limits, loaded.rows, notes)
    specs, targets = _targets(loaded, roles, options, reader)
    single = {roles[column.name]: column for column in loaded.columns}
    given = _given_split(single["split"], reader) if "split" in single else None
    groups = _groups(single["group"], reader) if "group" in single else None
    times = read_times(single["time"], reader) if "time" in single else None
    if loaded.inputs is not None:
        inputs: Inputs = loaded.inputs
        columns = _array_columns(loaded, nullable=options.missing == "impute")
    else:
        chosen = [column for column in loaded.columns if roles[column.name] in {"input", "auto"}]
        inputs, columns = _inputs(chosen, roles, options, reader, context.scratch)
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
    )


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
    return tuple(ColumnSpec(name=name, type="number", nullable=nullable) for name in names)


def _has_value(inputs: npt.NDArray[Any]) -> Bools:
    """Return for each column of (N, D), or channel of (N, T, C), whether any row has a value in it."""
    has_value = np.zeros(inputs.shape[-1], dtype=np.bool_)
    for rows in row_chunks(inputs):
        has_value |= ~np.isnan(inputs[rows]).all(axis=tuple(range(inputs.ndim - 1)))
        if has_value.all():
            break
    return has_value


def _inputs(
    chosen: list[Column], roles: dict[str, Assigned], options: PrepareOptions, reader: ColumnReader, scratch: Path
) -> tuple[npt.NDArray[Any], tuple[ColumnSpec, ...]]:
    """Return the usable ones of the `chosen` columns as a mapped float64 (N, D), and their descriptions."""
    rows = len(reader.rows)
    matrix = np.lib.format.open_memmap(
        scratch / "table.npy", mode="w+", dtype=np.float64, shape=(rows, max(1, len(chosen)))
    )
    specs: list[ColumnSpec] = []
    nullable = options.missing == "impute"
    for column in chosen:
        values = reader.read(column, options.types.get(column.name), dates=True)
        reason = _why_unusable(values)
        if reason is not None:
            _notice_left_out(column.name, reason, roles, reader.notes)
        elif isinstance(values, Categories):
            matrix[:, len(specs)] = values.codes
            spec = ColumnSpec(name=column.name, type="category", categories=values.names, nullable=nullable)
            specs.append(spec)
        elif isinstance(values, Numbers | Dates):
            matrix[:, len(specs)] = values.values
            kind: Literal["number", "date"] = "date" if isinstance(values, Dates) else "number"
            specs.append(ColumnSpec(name=column.name, type=kind, nullable=nullable))
    if not specs:
        message = "no column is left to learn from; the report of each column says why: " + "; ".join(
            reader.notes.notices[:5]
        )
        raise DatasetError(Code.NO_INPUTS, message)
    return matrix[:, : len(specs)], tuple(specs)


def _why_unusable(values: Values) -> str | None:
    """Return why a column cannot be an input, or None."""
    if isinstance(values, Unusable):
        return values.reason
    numbers = values.codes if isinstance(values, Categories) else values.values
    present = numbers[~np.isnan(numbers)]
    if present.min() == present.max() and len(present) == len(numbers):
        return "every row holds the same value"
    return None


def _notice_left_out(name: str, reason: str, roles: dict[str, Assigned], notes: Notes) -> None:
    """Note that a column is left out, or refuse that where the user gave a column of text the role input."""
    is_text = reason.startswith("it is text")
    if roles[name] == "input" and is_text:
        message = f"column {name} cannot be an input: {reason}; give it the role ignored, or {TEXT_HINT}"
        raise DatasetError(Code.TEXT_COLUMN, message, [RowError((name,), message)])
    notes.notice(f"column {name} is left out: {reason}{f'; {TEXT_HINT}' if is_text else ''}")


def _targets(
    loaded: Loaded, roles: dict[str, Assigned], options: PrepareOptions, reader: ColumnReader
) -> tuple[tuple[TargetSpec, ...], Floats]:
    """Return the description and the values, (N, T), of all targets."""
    specs: list[TargetSpec] = []
    values: list[Floats] = []
    for column in loaded.columns:
        if roles[column.name] == "target":
            encoded = _label_targets(column, options, reader) or [_target(column, loaded, options, reader)]
            specs += [spec for spec, _ in encoded]
            values += [numbers for _, numbers in encoded]
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        message = f"two targets would be called {repeated}; give one of the columns another name"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((repeated,), message)])
    stacked = np.stack(values, axis=1) if values else np.empty((len(loaded.rows), 0))
    return tuple(specs), stacked


def _label_targets(column: Column, options: PrepareOptions, reader: ColumnReader) -> list[tuple[TargetSpec, Floats]]:
    """Return a target for each label of a column of lists of labels; for another column none."""
    if options.types.get(column.name) == "labels":
        column = split_labels(column, options.label_separator)
    return label_targets(column, reader.limits, reader.notes) if isinstance(column, LabelsColumn) else []


def _target(column: Column, loaded: Loaded, options: PrepareOptions, reader: ColumnReader) -> tuple[TargetSpec, Floats]:
    """Return the description of a target and its values, (N,): numbers, or class codes."""
    name = column.name
    declared = options.types.get(name, loaded.types.get(name))
    values = reader.read(blank_out(column, options.unlabelled_value, reader.notes), declared)
    if isinstance(values, Unusable):
        message = f"target {name} cannot be learned: {values.reason}"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((name,), message)])
    if isinstance(values, Dates):
        message = f"target {name} holds dates, which no head answers; write them as numbers, of days say"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((name,), message)])
    if isinstance(values, Numbers):
        if declared == "number" or not _are_classes(name, values, reader.notes):
            return TargetSpec(name=name, type="number"), values.values
        values = reader.as_categories(name, values)
    if declared is None:
        warn_of_missing_words(name, values.names, values.codes, reader.rows, reader.notes)
    return TargetSpec(name=name, type="category", classes=values.names), values.codes


def _are_classes(name: str, numbers: Numbers, notes: Notes) -> bool:
    """Return whether the numbers of a target are classes: booleans are, and few different whole numbers."""
    present = numbers.values[~np.isnan(numbers.values)]
    distinct = len(np.unique(present))
    named_like_target = name.casefold().rstrip("0123456789") in TARGET_NAMES
    many = numbers.whole and named_like_target and distinct <= MAX_CATEGORIES and 2 * distinct <= len(present)
    are_classes = numbers.boolean or bool(
        (present == np.floor(present)).all() and (distinct <= MAX_CERTAIN_CATEGORIES or many)
    )
    what = f"its {distinct} different values are {'' if are_classes else 'not '}few whole numbers"
    reason = "it holds true and false" if numbers.boolean else what
    notes.decide(f"types.{name}", "category" if are_classes else "number", f"{reason}; types can say otherwise")
    return are_classes


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
    values = reader.read(column, None, dates=True)
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
