"""Labels of targets: values that mean no label, and lists of labels."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Floats, Ints, LabelsColumn, TextColumn
from app.datasets.limits import Limits
from app.datasets.report import Notes
from app.ml.data.written_numbers import MISSING_WORD
from app.ml.fields import MAX_TARGETS
from app.ml.spec import MAX_WARNING_ROWS, TargetSpec, WarningCode

MAX_NAME = 255
SEPARATORS = (",", ";", "|", "/", "+", "&", " ")
NO_AND_YES = ("no", "yes")
MISSING = re.compile(MISSING_WORD)
MAX_SHOWN = 10


def blank_out(column: Column, value: str | tuple[str, ...] | None, notes: Notes) -> Column:
    """Return the column of a target with missing values in place of the values that the user calls no label."""
    for unlabelled in (value,) if isinstance(value, str) else value or ():
        column = _blank_out_value(column, unlabelled, notes)
    return column


def _blank_out_value(column: Column, value: str, notes: Notes) -> Column:
    if isinstance(column, LabelsColumn):
        return column
    if isinstance(column, TextColumn):
        matches = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column.values), value.strip()), fill_value=False)
        count = int(pc.sum(matches).as_py() or 0)
        blanked: Column = replace(column, values=pc.if_else(matches, pa.scalar(None, pa.string()), column.values))
    else:
        matches = column.values == _number(value)
        count = int(matches.sum())
        blanked = replace(column, values=np.where(matches, np.nan, column.values))
    if count:
        notes.notice(f"target {column.name}: {count} rows hold {value!r}, which unlabelled_value calls no label")
    return blanked


def warn_of_missing_words(name: str, classes: Sequence[str], codes: Floats, rows: Ints, notes: Notes) -> None:
    """Warn where classes of a target are words such as NA and unknown; codes (N,), NaN = missing, rows (N,)."""
    words = [code for code, label in enumerate(classes) if MISSING.match(label.strip())]
    matches = np.isin(codes, words)
    if not matches.any():
        return
    shown = ", ".join(f"{classes[code]!r} {int((codes == code).sum())}" for code in words[:MAX_SHOWN])
    listed = json.dumps([classes[code] for code in words[:MAX_SHOWN]], ensure_ascii=False)
    notes.warn(
        WarningCode.MISSING_WORD_CLASSES,
        f"target {name}: words that often mean no label became classes: {shown}",
        count=int(matches.sum()),
        rows=rows[np.flatnonzero(matches)[:MAX_WARNING_ROWS]],
        remedy=f'unlabelled_value={listed} makes them rows without a label; types={{"{name}": "category"}} keeps them',
    )


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return np.nan


def split_labels(column: Column, separator: str, notes: Notes) -> LabelsColumn:
    """Return a column of text as lists of labels; blank cells are missing.

    Raises:
        DatasetError: bad_target, where it holds no text.
    """
    if isinstance(column, LabelsColumn):
        return column
    if not isinstance(column, TextColumn):
        message = f"column {column.name} is declared to hold labels, but it holds no text; write them as text"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((column.name,), message)])
    blank = pc.equal(pc.utf8_trim_whitespace(column.values), "")
    text = pc.if_else(blank, pa.scalar(None, pa.string()), column.values)
    if not _holding(text, separator):
        _warn_of_separator(column.name, text, separator, notes)
    return LabelsColumn(column.name, pc.split_pattern(text, separator))


def _holding(text: Any, separator: str) -> int:
    """Return how many cells hold the separator."""
    return int(pc.sum(pc.match_substring(text, separator)).as_py() or 0)


def _warn_of_separator(name: str, text: Any, separator: str, notes: Notes) -> None:
    counts = {other: _holding(text, other) for other in SEPARATORS}
    likely = max(SEPARATORS, key=lambda other: counts[other])
    message = f"column {name}: no cell holds the separator {separator!r}, so that each cell was taken as one label"
    remedy = "label_separator names another one"
    if counts[likely]:
        message += f"; {counts[likely]} cells hold {likely!r}"
        remedy = f'label_separator="{likely}"'
    notes.warn(WarningCode.SEPARATOR_UNUSED, message, count=len(text) - text.null_count, remedy=remedy)


def label_targets(column: LabelsColumn, limits: Limits, notes: Notes) -> list[tuple[TargetSpec, Floats]]:
    """Return a target of 0 and 1, no and yes, (N,) for each label; NaN in all of them where the row has no list.

    Raises:
        DatasetError: bad_target, or too_many_classes.
    """
    name, values = column.name, column.values
    lists = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    texts = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    rows = pc.list_parent_indices(lists).to_numpy()
    labels = sorted({label for label in pc.unique(texts).to_pylist() if label})
    _check_labels(name, labels, len(lists), limits)
    table = np.zeros((len(labels), len(lists)))
    codes = np.array(pc.index_in(texts, pa.array(labels, pa.string())).to_numpy(zero_copy_only=False), dtype=np.float64)
    named = ~np.isnan(codes)  # an empty text names no label
    table[codes[named].astype(np.int64), rows[named]] = 1
    table[:, np.array(lists.is_null())] = np.nan
    notes.decide(f"types.{name}", "labels", f"its lists hold {len(labels)} different labels, each a target of its own")
    return [
        (TargetSpec(name=f"{name}.{label}", type="category", classes=NO_AND_YES, group=name), table[code])
        for code, label in enumerate(labels)
    ]


def _check_labels(name: str, labels: list[str], rows: int, limits: Limits) -> None:
    max_labels = min(MAX_TARGETS, limits.classes, limits.cells // max(rows, 1))
    if len(labels) > max_labels:
        message = (
            f"column {name} has {len(labels)} different labels, at most {max_labels} are taken; leave rare ones out"
        )
        raise DatasetError(Code.TOO_MANY_CLASSES, message, [RowError((name,), message)])
    if not labels:
        message = f"target {name} cannot be learned: none of its lists holds a label"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((name,), message)])
    unusable = next((label for label in labels if len(name) + 1 + len(label) > MAX_NAME or "\0" in label), None)
    if unusable is not None:
        message = f"column {name}: the label {unusable[:40]!r} is longer than a name may be, or holds NUL; shorten it"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((name,), message)])
