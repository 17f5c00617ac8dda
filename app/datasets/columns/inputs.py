"""Encodes the input columns of a table as numbers, one by one: several processes share those of a large table out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.free_text import has_words, is_lost_text
from app.datasets.columns.missing_values import notice_words, warn_of_sentinels, without_missing_values
from app.datasets.columns.roles import Assigned
from app.datasets.columns.type_inference import ColumnReader
from app.datasets.columns.values import Categories, Dates, Numbers, Unusable, Values
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, ColumnType, Floats, Ints, TextColumn
from app.datasets.frames.column_parts import are_shared_out, load, map_columns, store
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.ml.data.words import MAX_WORDS, codes_of, digest
from app.ml.spec import ColumnSpec, WarningCode


def encode_inputs(
    chosen: list[Column], roles: dict[str, Assigned], types: dict[str, ColumnType], rows: Ints, context: Context
) -> tuple[npt.NDArray[Any], tuple[ColumnSpec, ...], dict[str, Any]]:
    """Return the usable ones of the `chosen` columns as a mapped float64 (N, D), their descriptions, and the texts.

    `rows` (N,) are the numbers of the rows in the file.
    """
    options, notes, scratch = context.options, context.notes, context.scratch
    shape = (len(rows), max(1, len(chosen)))
    matrix = np.lib.format.open_memmap(scratch / "table.npy", mode="w+", dtype=np.float64, shape=shape)
    shared_out = are_shared_out(chosen, context.processes)
    numbers = store(rows, scratch) if shared_out else rows
    encoder = _Encoder(options, context.limits, roles, types, len(chosen) == 1, numbers, scratch)
    specs: list[ColumnSpec] = []
    texts: dict[str, Any] = {}
    for given, encoded in zip(chosen, map_columns(encoder, chosen, context.processes, scratch), strict=True):
        notes.add(encoded.notes)
        if encoded.spec is None:
            continue
        if isinstance(encoded.values, Path):
            matrix[:, len(specs)] = load(encoded.values)
            encoded.values.unlink()
        else:
            matrix[:, len(specs)] = encoded.values
        specs.append(encoded.spec)
        if encoded.spec.type == "text":
            texts[given.name] = pc.cast(_without_missing(given, options, Notes()).values, pa.string())
    if not specs:
        raise _no_inputs(notes)
    return matrix[:, : len(specs)], tuple(specs), texts


@dataclass(slots=True)
class _Encoded:
    """A column as numbers (N,), or the file that holds them, its description, and what there is to say of it.

    Without a description it is left out.
    """

    spec: ColumnSpec | None = None
    values: Floats | Path | None = None
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True, slots=True)
class _Encoder:
    """Encodes a column, in this process or, where `rows` (N,) are in a file, in another one."""

    options: PrepareOptions
    limits: Limits
    roles: dict[str, Assigned]
    types: dict[str, ColumnType]
    alone: bool
    rows: Ints | Path
    scratch: Path

    def __call__(self, column: Column) -> _Encoded:
        """Return the column as numbers.

        Raises:
            DatasetError: its values and the options do not fit together; names the rows at fault, if any.
        """
        notes = Notes()
        rows = load(self.rows) if isinstance(self.rows, Path) else self.rows
        reader = ColumnReader(self.options, self.limits, rows, notes)
        spec, values = _encode(_without_missing(column, self.options, notes), self, reader)
        in_file = values is not None and isinstance(self.rows, Path)
        return _Encoded(spec, store(values, self.scratch) if in_file else values, notes)


def _without_missing(column: Column, options: PrepareOptions, notes: Notes) -> Column:
    return without_missing_values(column, options.missing_values, notes)


def _encode(column: Column, encoder: _Encoder, reader: ColumnReader) -> tuple[ColumnSpec | None, Floats | None]:
    """Return the description of a column and its numbers (N,), or None where it is left out."""
    name, types, notes = column.name, encoder.types, reader.notes
    nullable = reader.options.missing == "impute"
    values = _read(column, types.get(name), reader)
    unusable = _as_unusable(values)
    if isinstance(column, TextColumn) and unusable is not None and _is_learned(column, unusable, encoder.roles, types):
        digests = _digests(pc.cast(column.values, pa.string()))
        _report_text(column, types, reader)
        return ColumnSpec(name=name, type="text", nullable=nullable), digests
    if unusable is not None:
        _report_left_out(column, unusable, encoder.roles, notes)
        return None, None
    if isinstance(values, Categories):
        notice_words(name, values.names, values.codes, notes)
        if isinstance(column, TextColumn) and name not in types:
            _decide_category(column, values, alone=encoder.alone, notes=notes)
        return ColumnSpec(name=name, type="category", categories=values.names, nullable=nullable), values.codes
    assert isinstance(values, Numbers | Dates)  # unusable ones are no longer here
    if isinstance(values, Numbers):
        warn_of_sentinels(name, values.values, reader.rows, notes)
    kind: Literal["number", "date"] = "date" if isinstance(values, Dates) else "number"
    spec = ColumnSpec(name=name, type=kind, nullable=nullable)
    if isinstance(column, TextColumn) and kind == "number":
        spec = spec.model_copy(update={"decimal": column.decimal, "sign": column.sign})
    return spec, values.values


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
