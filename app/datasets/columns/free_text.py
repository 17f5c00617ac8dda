"""Tells texts to learn words from, from categories and names."""

import numpy as np
import pyarrow.compute as pc

from app.datasets.columns.date_parsing import parse_dates
from app.datasets.columns.names import is_called_id, is_called_name, is_called_text
from app.datasets.columns.number_parsing import parse_numbers
from app.datasets.frames import Column, LabelsColumn, TextColumn

MAX_NAME = 255
MAX_CATEGORIES = 1000
MAX_CERTAIN_CATEGORIES = 20  # so few different values are categories, however few rows there are
SAMPLED_ROWS = 10_000
UNSPACED = r"|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{6}"  # scripts that put no blanks between words
LETTERS = r"\S*\p{L}\S*"  # numbers and codes are no words: "12.5 kg", "1:0.3 4:0.2"
TWO_WORDS = rf"(?s)^(.*\s)?{LETTERS}\s(.*\s)?{LETTERS}(\s|$){UNSPACED}"
THREE_WORDS = rf"(?s)^(.*\s)?{LETTERS}\s(.*\s)?{LETTERS}\s(.*\s)?{LETTERS}(\s|$){UNSPACED}"


def has_too_many_values(distinct: int, present: int) -> bool:
    """Return whether a column has too many different values for categories."""
    return distinct > MAX_CATEGORIES or (distinct > MAX_CERTAIN_CATEGORIES and 2 * distinct > present)


def is_free_text(column: TextColumn) -> bool:
    """Return whether a column holds free text: no numbers, no dates, and too many different values for categories."""
    text = column.values
    if (pc.max(pc.utf8_length(text)).as_py() or 0) > MAX_NAME:  # what follows would copy all of the text
        return True
    if not column.typed and not parse_numbers(text).foreign.any():
        return False
    if not has_too_many_values(pc.count_distinct(text).as_py(), len(text) - text.null_count):
        return False
    parsed = parse_dates(text, force=False)
    return parsed is None or bool(parsed.foreign.any())


def is_text(column: Column) -> bool:
    """Return whether a column holds texts and not numbers, by its first values."""
    return isinstance(column, TextColumn) and (
        column.typed or bool(parse_numbers(column.values.slice(0, SAMPLED_ROWS)).foreign.any())
    )


def has_three_words(column: Column) -> bool:
    """Return whether most of the first values have three words or more."""
    return isinstance(column, TextColumn) and _mostly(column, THREE_WORDS)


def has_words(column: TextColumn) -> bool:
    """Return whether most of the first values have two words or more, or are longer than a name."""
    return _mostly(column, TWO_WORDS)


def is_prose(column: Column) -> bool:
    """Return whether a column holds texts to learn words from: it is called text, or its free texts have words."""
    if not isinstance(column, TextColumn) or not is_text(column):
        return False
    return is_called_text(column.name) or (is_free_text(column) and has_words(column))


def is_lost_text(column: Column) -> bool:
    """Return whether a table without the texts of this column learns less: sentences, and no names or addresses."""
    return is_prose(column) and has_three_words(column) and not is_called_name(column.name)


def names_rows(column: Column) -> bool:
    """Return whether a column is called an id and has a different text (no date) or whole number in each row."""
    if not is_called_id(column.name) or isinstance(column, LabelsColumn):
        return False
    if isinstance(column, TextColumn):
        if pc.count_distinct(column.values, mode="all").as_py() < len(column.values):
            return False
        parsed = parse_numbers(column.values)
        if parsed.foreign.any():
            return parse_dates(column.values, force=False) is None  # the index of a series in time is no id
        return parsed.whole
    values = column.values
    return bool(len(np.unique(values)) == len(values) and (values == np.floor(values)).all())


def _mostly(column: TextColumn, pattern: str) -> bool:
    text = pc.utf8_trim_whitespace(column.values.slice(0, SAMPLED_ROWS))
    longer = pc.greater(pc.utf8_length(text), MAX_NAME)
    matches = pc.sum(pc.or_(pc.match_substring_regex(text, pattern), longer)).as_py() or 0
    present = pc.sum(pc.not_equal(text, "")).as_py() or 0
    return bool(2 * matches > present)
