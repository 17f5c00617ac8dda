"""Which parts of a column of dates are learned from: those in which train rows differ."""

import numpy as np

from app.datasets.frames import Bytes, Frame
from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.texts import Texts
from app.datasets.report import Notes
from app.ml.data.date_parts import PARTS, varying_parts
from app.ml.spec import SPLITS, ColumnSpec, DatePart

_OPTION = '`"preprocessing": {"kind": "table", "dates": "time"}` of a training'


def with_date_parts(frame: Frame, split: Bytes, notes: Notes) -> tuple[ColumnSpec, ...]:
    """Return the columns, those of dates with their parts, which are a decision; `frame` has the kept rows' inputs."""
    return tuple(
        _with_parts(column, index, frame, split, notes) if column.type == "date" else column
        for index, column in enumerate(frame.columns)
    )


def _with_parts(column: ColumnSpec, index: int, frame: Frame, split: Bytes, notes: Notes) -> ColumnSpec:
    assert not isinstance(frame.inputs, Texts)
    train = split == SPLITS.index("train")
    days = np.concatenate([frame.inputs[rows, index][train[rows]] for rows in row_chunks(frame.inputs)])
    parts = varying_parts(days)
    constant = [part for part in PARTS if part not in parts]
    reason = "train rows differ in these, which stand next to the time itself as sines and cosines"
    if constant:
        reason = f"train rows do not differ in {_named(constant)}" + (f"; {reason}" if parts else "")
    notes.decide(f"parts.{column.name}", _named(parts) or "the time alone", reason, option=_OPTION)
    return column.model_copy(update={"parts": parts})


def _named(parts: "tuple[DatePart, ...] | list[DatePart]") -> str:
    return ", ".join(part.replace("_", " ") for part in parts)
