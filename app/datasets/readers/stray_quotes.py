"""Fields in quotes that hold whole rows: the quote was part of a text and swallowed the rows up to the next one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow.compute as pc

from app.datasets.columns.number_parsing import NUMBER
from app.datasets.frames import TextColumn
from app.datasets.readers.single_lines import split_line

SAMPLED_ROWS = 10_000
MIN_LIKE_SHARE = 0.9
MIN_DOUBTFUL_SHARE = 0.6  # of two lines of one text, one fits by its beginning, or the other by its end
MAX_SHARE = 0.5  # quotes in most records are no strays
MIN_LINES = 3  # of so many, all of the right width, none is even by chance


@dataclass(frozen=True, slots=True)
class Span:
    """A record over several lines: its row, the number of its first line, and the lines."""

    row: int
    line: int
    lines: tuple[str, ...]


def holds_rows(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Return whether each line of a record that spans several has the fields of a row by itself."""
    return width > 1 and all(len(split_line(line, delimiter, width)) == width for line in lines)


def judge_spans(
    spans: Sequence[Span], share: float, delimiter: str, columns: Sequence[TextColumn]
) -> Literal["rows", "texts", "doubtful"]:
    """Return what the lines of records over several lines are; `share` of all records are such.

    They are rows where their fields are like those of the other rows, column by column. Columns of numbers and of
    values that repeat can tell; where there are none, records of three lines or more are rows.
    """
    rows = [split_line(line, delimiter, len(columns)) for span in spans for line in span.lines]
    fits = [_share_like(column, [row[j].strip(' "') for row in rows]) for j, column in enumerate(columns)]
    known = [fit for fit in fits if fit is not None]
    if known and min(known) < MIN_DOUBTFUL_SHARE:
        return "texts"
    certain = min(known) >= MIN_LIKE_SHARE if known else all(len(span.lines) >= MIN_LINES for span in spans)
    return "rows" if certain and share < MAX_SHARE else "doubtful"


def _share_like(column: TextColumn, fields: Sequence[str]) -> float | None:
    """Return the share of fields that are like the values of a column, or None where its values do not tell."""
    values = pc.utf8_trim_whitespace(column.values.slice(0, SAMPLED_ROWS))
    present = values.filter(pc.not_equal(values, ""))
    texts = [field for field in fields if field]
    numbers = pc.sum(pc.match_substring_regex(present, NUMBER)).as_py() or 0
    if not texts or not len(present):
        return None
    if numbers >= MIN_LIKE_SHARE * len(present):
        return sum(re.fullmatch(NUMBER, text) is not None for text in texts) / len(texts)
    known = set(pc.unique(present).to_pylist())
    return sum(text in known for text in texts) / len(texts) if 2 * len(known) <= len(present) else None
