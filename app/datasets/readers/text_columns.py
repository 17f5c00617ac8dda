"""Finds the column of texts in a table, and that of their labels, by names and values; asks where that is open."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.free_text import (
    MAX_CERTAIN_CATEGORIES,
    has_three_words,
    has_too_many_values,
    is_free_text,
    is_prose,
    is_text,
    names_rows,
)
from app.datasets.columns.names import is_called_label, is_called_text, words_of
from app.datasets.columns.number_parsing import parse_numbers
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, DateColumn, LabelsColumn, TextColumn
from app.datasets.frames.column_parts import map_columns
from app.datasets.report import Notes

MAX_SHOWN = 20
DIALOGUES = (("prompt", "completion"), ("prompt", "response"), ("instruction", "output"), ("question", "answer"))


@dataclass(frozen=True, slots=True)
class TextChoice:
    """The column that becomes the inputs, and the name of the column that is found to be their target, if any."""

    text: TextColumn
    target: str | None


def choose_text(inputs: list[Column], free: list[Column], targets: list[Column], context: Context) -> TextChoice | None:
    """Return the texts of a table where they are what it is about, or None where it stays a table.

    `inputs` and `targets` have these roles, `free` have none yet.

    Raises:
        DatasetError: bad_roles: it has texts, and which columns are their labels, or which text is meant, is open.
    """
    notes = context.notes
    if inputs:
        return _from_inputs(inputs, free, notes)
    ids = [column for column in free if len(free) > 1 and names_rows(column)]
    repeated = _repeated(free, targets[0], context) if targets else []
    candidates = [column for column in free if column not in ids and column not in repeated]
    texts = _texts(candidates, targets, context)
    others = [column for column in candidates if column not in texts]
    if len(texts) > 1 and not targets and not [column for column in others if not _is_label(column)]:
        _refuse_several(texts, others)
    if len(texts) != 1:
        return None
    (text,) = texts
    target = None
    if not targets and others:
        target = labels_beside(f"the texts of {text.name}", others, notes)
        if target is None and (is_called_text(text.name) or any(is_called_label(other.name) for other in others)):
            _refuse_open_labels(text, others)
    if others and target is None:
        return None
    why = "there is nothing else to learn from" if target is None else f"{target} labels it"
    notes.decide(
        "modality", "text", f"column {text.name} is free text and {why}", option=f'columns={{"{text.name}": "ignored"}}'
    )
    _notice_left_out(ids, "they only name the rows", notes)
    _notice_left_out(repeated, "they repeat the target", notes)
    return TextChoice(text, target)


def _from_inputs(inputs: list[Column], free: list[Column], notes: Notes) -> TextChoice | None:
    """Return the text where the user's only input is free text and no other column could be one."""
    (first, *more) = inputs
    if more or free or not isinstance(first, TextColumn) or not is_free_text(first):
        return None
    notes.decide("modality", "text", f"column {first.name} is free text and there is nothing else to learn from")
    return TextChoice(first, None)


def _texts(candidates: list[Column], targets: list[Column], context: Context) -> list[TextColumn]:
    """Return the columns of texts; without any, the one of texts of three words and more next to labels alone."""
    are_prose = map_columns(is_prose, candidates, context.processes, context.scratch)
    prose = (column for column, is_such in zip(candidates, are_prose, strict=True) if is_such)
    texts = [column for column in prose if isinstance(column, TextColumn)]
    texts = [column for column in texts if is_free_text(column)] or texts
    wordy = [column for column in candidates if isinstance(column, TextColumn) and has_three_words(column)]
    labels = 1 - bool(targets)
    if texts or len(wordy) != 1 or len(candidates) > 1 + labels or not is_text(wordy[0]):
        return texts
    return wordy if all(_has_few_classes(column) for column in candidates if column is not wordy[0]) else []


def labels_beside(what: str, others: list[Column], notes: Notes) -> str | None:
    """Return the name of the only column next to the inputs, `what`, where it holds few classes, and so labels them."""
    if len(others) != 1 or not _has_few_classes(others[0]):
        return None
    name = others[0].name
    reason = f"it holds few different values, and is all there is next to {what}"
    notes.decide(f"columns.{name}", "target", reason, option=f'columns={{"{name}": "ignored"}}')
    return name


def _is_label(column: Column) -> bool:
    return is_called_label(column.name) or _has_few_classes(column)


def _has_few_classes(column: Column) -> bool:
    """Return whether a column could be classes: few whole numbers, or texts that repeat; two at least."""
    if isinstance(column, LabelsColumn | DateColumn):
        return False
    if not isinstance(column, TextColumn):
        return _are_few(column.values)
    if not is_text(column):
        return _are_few(parse_numbers(column.values).values)
    distinct, present = pc.count_distinct(column.values).as_py(), len(column.values) - column.values.null_count
    return distinct > 1 and not has_too_many_values(distinct, present)


def _are_few(values: "np.typing.NDArray[np.float64]") -> bool:
    distinct = np.unique(values[~np.isnan(values)])
    return 1 < len(distinct) <= MAX_CERTAIN_CATEGORIES and bool((distinct == np.floor(distinct)).all())


def _repeated(columns: list[Column], target: Column, context: Context) -> list[Column]:
    """Return the columns whose values and those of the target are one to one, as names of classes are."""
    if isinstance(target, LabelsColumn):
        return []
    are_few = map_columns(_has_few_classes, columns, context.processes, context.scratch)
    return [column for column, few in zip(columns, are_few, strict=True) if few and _repeats(column, target)]


def _repeats(column: Column, target: Column) -> bool:
    pairs = pa.table({"column": _values(column), "target": _values(target)})
    counts = [len(pairs.select(names).group_by(names).aggregate([])) for names in (["column"], ["target"])]
    return len(pairs.group_by(["column", "target"]).aggregate([])) == counts[0] == counts[1]


def _values(column: Column) -> "pa.Array | pa.ChunkedArray":
    return column.values if isinstance(column, TextColumn | LabelsColumn) else pa.array(column.values)


def _notice_left_out(columns: list[Column], why: str, notes: Notes) -> None:
    if columns:
        notes.notice(f"columns left out, as {why}: {', '.join(column.name for column in columns[:MAX_SHOWN])}")


def _refuse_open_labels(text: TextColumn, others: list[Column]) -> NoReturn:
    """Ask which column labels the texts; the request is the first guess."""
    guess = next((other for other in others if is_called_label(other.name)), others[0])
    rest = "".join(f', "{other.name}": "ignored"' for other in others[:MAX_SHOWN] if other is not guess)
    names = ", ".join(other.name for other in others[:MAX_SHOWN])
    request = f'columns={{"{text.name}": "input", "{guess.name}": "target"{rest}}}'
    message = (
        f"column {text.name} is free text, and which other column is its target is open: {names}; send "
        f'{request} to learn {guess.name} from the texts, or modality="table" to learn from all columns'
    )
    raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])


def _refuse_several(texts: list[TextColumn], others: list[Column]) -> NoReturn:
    """Ask which of several columns of texts is meant."""
    names = [text.name for text in texts]
    first, *rest = names[:MAX_SHOWN]
    request = ", ".join([f'"{first}": "input"', *(f'"{name}": "ignored"' for name in rest)])
    request += "".join(f', "{other.name}": "target"' for other in others if _is_label(other))
    what = f"the table has {len(texts)} columns of texts: {', '.join(names[:MAX_SHOWN])}"
    words = {word for name in names for word in words_of(name)}
    if any(set(pair) <= words for pair in DIALOGUES):
        shown = ", ".join(names[:MAX_SHOWN])
        what = f"the rows are prompts and answers ({shown}), and a row of a text dataset is one text"
    joined = " + ".join(["{}"] * len(names[:3])).format(*names[:3])
    message = f"{what}; make one column of them, such as text = {joined}, or choose one with columns={{{request}}}"
    raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])
