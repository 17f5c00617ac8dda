"""Columns of a CSV file without a name: pandas' index and R's row names first of all.

They are called as pandas calls them, "Unnamed: 0", so that a file and the frame read from it have the same names.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from app.datasets.columns.date_parsing import parse_dates
from app.datasets.columns.number_parsing import parse_numbers
from app.datasets.context import Context
from app.datasets.frames import Role, TextColumn

MAX_NAME_WORDS = 4
UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*(_level_\d+)?")


def with_generated_names(names: Sequence[str]) -> list[str]:
    """Return the names, "Unnamed: 3" in place of the fourth where it is blank; line ends within names become blanks."""
    given = {name.strip() for name in names}
    complete: list[str] = []
    for position, name in enumerate(names):
        generated = f"Unnamed: {position}"
        while generated in given:
            generated += ".1"
        complete.append(re.sub(r"\s*[\r\n]+\s*", " ", name) if name.strip() else generated)
    return complete


@dataclass(frozen=True, slots=True)
class Sorted:
    """The columns of a table, of which `roles` leaves out those that number or name the rows."""

    columns: tuple[TextColumn, ...]
    roles: dict[str, Role]


def sort_out_unnamed(columns: tuple[TextColumn, ...], blank: Sequence[int], context: Context) -> Sorted:
    """Return the columns without those that lack name and values, and leave out an index; `blank` ones had no name."""
    kept: list[TextColumn] = []
    roles: dict[str, Role] = {}
    for position, column in enumerate(columns):
        if position not in blank and not UNNAMED.fullmatch(column.name):
            kept.append(column)
        elif _is_empty(column):
            context.notes.notice(f"column {position + 1} holds neither a name nor a value; it is left out")
        else:
            kept.append(column)
            if (role := _role(column, position, context, blank=position in blank)) is not None:
                roles[column.name] = role
    return Sorted(tuple(kept), roles) if kept else Sorted(columns, roles)


def _role(column: TextColumn, position: int, context: Context, *, blank: bool) -> Role | None:
    """Note what becomes of a column without a name: an index is ignored, another one an ordinary column."""
    name, notes = column.name, context.notes
    if name in context.options.columns:
        return None
    reason = _why_index(column) if position == 0 or not blank else None
    if reason is not None:
        notes.decide(f"columns.{name}", "ignored", reason, f'columns={{"{name}": "input"}}')
        notes.notice(f"column {name} is left out: {reason}")
        return "ignored"
    if blank:
        why = "it has no name, and its values do not number or name the rows"
        notes.decide(f"columns.{name}", "kept", why, f'columns={{"{name}": "ignored"}}')
    return None


def _is_empty(column: TextColumn) -> bool:
    return not any(pc.any(pc.not_equal(pc.utf8_trim_whitespace(chunk), "")).as_py() for chunk in column.values.chunks)


def _why_index(column: TextColumn) -> str | None:
    """Return why a column without a name is the index of a table, or None: fractions and dates are none."""
    text = column.values
    if len(text) < 2 or pc.count_distinct(text, mode="all").as_py() < len(text):  # noqa: PLR2004 - one row is any number
        return None
    numbers = parse_numbers(text)
    if not (numbers.foreign | numbers.missing | numbers.words | numbers.infinite).any():
        if not numbers.whole:
            return None
        start = numbers.values[0]
        counting = bool((numbers.values - start == np.arange(len(text))).all())
        what = f"counts the rows from {start:g}" if counting else "holds a different whole number in each row"
        return f"it has no name and {what}"
    if parse_dates(text, force=False) is not None or _is_prose(text):
        return None
    return "it has no name and a different text in each row, as row names have"


def _is_prose(text: Any) -> bool:
    """Return whether texts have more words on average than names have."""
    return bool(pc.mean(pc.count_substring(text, " ")).as_py() > MAX_NAME_WORDS - 1)
