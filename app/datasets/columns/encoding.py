"""Encodes columns as numbers: inputs, targets, groups, times and given splits."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.free_text import has_words, is_lost_text, names_rows
from app.datasets.columns.missing_values import (
    notice_words,
    warn_of_array_sentinels,
    warn_of_sentinels,
    without_missing_values,
)
from app.datasets.columns.roles import SPLIT_WORDS, Assigned, assign_roles
from app.datasets.columns.target_encoding import encode_targets
from app.datasets.columns.type_inference import ColumnReader
from app.datasets.columns.values import Categories, Dates, Numbers, Unusable, Values
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bools, Bytes, Column, ColumnType, Floats, Frame, Inputs, Loaded, TextColumn
from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.texts import Texts
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.ml.data.words import MAX_WORDS, codes_of, digest
from app.ml.spec import ColumnSpec, WarningCode


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
        inputs, columns, texts = _inputs(chosen, roles, loaded.types | options.types, reader, context.scratch)
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


def _inputs(
    chosen: list[Column],
    roles: dict[str, Assigned],
    types: dict[str, ColumnType],
    reader: ColumnReader,
    scratch: Path,
) -> tuple[npt.NDArray[Any], tuple[ColumnSpec, ...], dict[str, Any]]:
    """Return the usable ones of the `chosen` columns as a mapped float64 (N, D), their descriptions, and the texts."""
    rows = len(reader.rows)
    matrix = np.lib.format.open_memmap(
        scratch / "table.npy", mode="w+", dtype=np.float64, shape=(rows, max(1, len(chosen)))
    )
    specs: list[ColumnSpec] = []
    texts: dict[str, Any] = {}
    nullable = reader.options.missing == "impute"
    for given in chosen:
        column = without_missing_values(given, reader.options.missing_values, reader.notes)
        values = _read(column, types.get(column.name), reader)
        unusable = _as_unusable(values)
        if isinstance(column, TextColumn) and unusable is not None and _is_learned(column, unusable, roles, types):
            texts[column.name] = pc.cast(column.values, pa.string())
            matrix[:, len(specs)] = _digests(texts[column.name])
            specs.append(ColumnSpec(name=column.name, type="text", nullable=nullable))
            _report_text(column, types, reader)
        elif unusable is not None:
            _report_left_out(column, unusable, roles, reader.notes)
        elif isinstance(values, Categories):
            matrix[:, len(specs)] = values.codes
            spec = ColumnSpec(name=column.name, type="category", categories=values.names, nullable=nullable)
            specs.append(spec)
            notice_words(column.name, values.names, values.codes, reader.notes)
            if isinstance(column, TextColumn) and column.name not in types:
                _decide_category(column, values, alone=len(chosen) == 1, notes=reader.notes)
        elif isinstance(values, Numbers | Dates):
            matrix[:, len(specs)] = values.values
            if isinstance(values, Numbers):
                warn_of_sentinels(column.name, values.values, reader.rows, reader.notes)
            kind: Literal["number", "date"] = "date" if isinstance(values, Dates) else "number"
            spec = ColumnSpec(name=column.name, type=kind, nullable=nullable)
            if isinstance(column, TextColumn) and kind == "number":
                spec = spec.model_copy(update={"decimal": column.decimal, "sign": column.sign})
            specs.append(spec)
    if not specs:
        raise _no_inputs(reader.notes)
    return matrix[:, : len(specs)], tuple(specs), texts


def _no_inputs(notes: Notes) -> DatasetError:
    reasons = [*(item.message for item in notes.warnings), *notes.notices]
    why = "; ".join(reasons[:5]) or "next to the target the file has none; add columns of what is known of each row"
    return DatasetError(Code.NO_INPUTS, f"no column is left to learn from: {why}")


def _read(column: Column, declared: ColumnType | None, reader: ColumnReader) -> Values:
    """Read an input. Raises `DatasetError` where numbers or dates are declared to be texts."""
    if declared != "text":
        return reader.read(column, declared, dates=True)
    if isinstance(column, TextColumn):
        return Unusable("its words are learned from", is_text=True)
    message = f"column {column.name} holds numbers, dates or lists, and types says text; write texts, or leave that out"
    raise DatasetError(Code.BAD_OPTION, message, [RowError(("types", column.name), message)])


def _is_learned(
    column: TextColumn, unusable: Unusable, roles: dict[str, Assigned], types: dict[str, ColumnType]
) -> bool:
    """Return whether a column that is neither numbers, dates nor categories is learned from by its words."""
    if types.get(column.name) == "text":
        return True
    return unusable.is_text and (roles[column.name] == "input" or is_lost_text(column))


def _digests(texts: Any) -> Floats:
    """Return a digest of each text (N,), NaN where it is blank."""
    encoded = pc.dictionary_encode(texts)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    known = [np.nan if not text.strip() else digest(text) for text in encoded.dictionary.to_pylist()]
    codes = pc.fill_null(encoded.indices, len(known)).to_numpy(zero_copy_only=False)
    digests: Floats = np.array([*known, np.nan])[codes.astype(np.int64)]
    return digests


def _report_text(column: TextColumn, types: dict[str, ColumnType], reader: ColumnReader) -> None:
    """Say that a column's words are learned from, and how many rows have more of them than are read."""
    name = column.name
    if name not in types:
        reason = "its texts differ and have several words, which are learned from together with the other columns"
        reader.notes.decide(f"types.{name}", "text", reason, option=f'columns={{"{name}": "ignored"}}')
    counts = np.array([len(codes_of(text or "")) for text in column.values.to_pylist()])
    long = np.flatnonzero(counts > MAX_WORDS)
    if len(long):
        message = f"column {name}: {len(long)} texts have more than {MAX_WORDS} different words; the rest was not read"
        remedy = 'give the modality "text" to learn from longer texts, by these alone'
        reader.notes.warn(WarningCode.TEXTS_CUT, message, count=len(long), rows=reader.rows[long], remedy=remedy)


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


def _decide_category(column: TextColumn, values: Categories, *, alone: bool, notes: Notes) -> None:
    """Say that a column with words in it, or the only one, became a category: its words are not learned from."""
    if alone or has_words(column):
        reason = f"its {len(values.names)} different values repeat; say modality text to learn from their words"
        notes.decide(f"types.{column.name}", "category", reason, option='modality="text"')


def _as_unusable(values: Values) -> Unusable | None:
    """Return why a column cannot be an input, or None."""
    if isinstance(values, Unusable):
        return values
    numbers = values.codes if isinstance(values, Categories) else values.values
    present = numbers[~np.isnan(numbers)]
    if present.min() == present.max() and len(present) == len(numbers):
        return Unusable("every row holds the same value")
    return None


def _report_left_out(column: Column, unusable: Unusable, roles: dict[str, Assigned], notes: Notes) -> None:
    """Report that a column is left out, or refuse that where the user gave a column of text the role input."""
    name, reason, remedy = column.name, unusable.reason, unusable.remedy
    if roles[name] == "input" and remedy is not None:
        message = f"column {name} cannot be an input: {reason}; give it the role ignored, or {remedy}"
        raise DatasetError(Code.TEXT_COLUMN, message, [RowError((name,), message)])
    message = f"column {name} is left out: {reason}"
    ignored = f'columns={{"{name}": "ignored"}} says that this is meant'
    if unusable.notation is not None:
        remedy = f"{unusable.notation.partition(': ')[2]}; {ignored}"
        notes.warn(WarningCode.UNREAD_NOTATION, f"column {name} is left out: {reason}", count=1, remedy=remedy)
    elif remedy is not None and is_lost_text(column):
        notes.warn(WarningCode.TEXT_LEFT_OUT, message, count=1, remedy=f"{remedy}; {ignored}")
    else:
        notes.notice(message if remedy is None else f"{message}; {remedy}")


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
