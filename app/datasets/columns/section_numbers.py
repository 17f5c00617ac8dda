"""Versions and numbers of sections: 1.10 follows 1.9, and as a number it would be 1.1."""

import re
from dataclasses import dataclass

import pyarrow.compute as pc

from app.datasets.columns.free_text import MAX_CATEGORIES
from app.datasets.columns.names import is_called_version
from app.datasets.frames import TextColumn
from app.ml.data.written_numbers import is_missing_word

PART = r"(0|[1-9]\d{0,3})"  # a zero before it, as in 1.05, makes a fraction or a date of it
ANY_PARTS = re.compile(rf"{PART}(\.{PART})*")
SAMPLED_ROWS = 1000
MAX_GAP = 4  # second parts are counted, so that they are no further apart on average
MAX_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SectionNumbers:
    """Values of which two parts at least are counted, and the evidence; not `certain`: they may be fractions."""

    reason: str
    certain: bool


def find_section_numbers(column: TextColumn) -> SectionNumbers | None:
    """Return why the values are versions or the like, or None: where they are numbers, or where nothing is lost."""
    if not _has_points(column):
        return None
    spellings = _spellings(column)
    if not spellings:
        return None
    longer = [name for name in spellings if name.count(".") > 1]
    shorter = [name for name in spellings if name.count(".") == 1]
    if longer and shorter:
        reason = f"{longer[0]} has more parts than {shorter[0]}, and 1.10 is not 1.1 among such values"
        return SectionNumbers(reason, certain=True)
    if is_called_version(column.name):
        padded = [name for name in shorter if re.search(r"\.\d+0$", name)]
        if padded and any(len(name.partition(".")[2]) == 1 for name in shorter):
            return SectionNumbers(f"its name says so, and {padded[0]} would be {float(padded[0]):g}", certain=True)
        return None
    return _judge_pairs(shorter)


def _judge_pairs(names: list[str]) -> SectionNumbers | None:
    """Return the doubt about names such as 1.1 and 1.10, which are one number, where second parts are counted."""
    by_number: dict[float, list[str]] = {}
    for name in names:
        by_number.setdefault(float(name), []).append(name)
    pairs = [" and ".join(sorted(same)) for same in by_number.values() if len(same) > 1]
    seconds = {int(name.partition(".")[2]) for name in names}
    if not pairs or max(seconds) > MAX_GAP * len(seconds):
        return None
    return SectionNumbers(f"{', '.join(pairs[:MAX_SHOWN])} are written differently, and are one number", certain=False)


def _has_points(column: TextColumn) -> bool:
    sample = column.values.slice(0, SAMPLED_ROWS)
    return bool(pc.any(pc.match_substring(sample, ".")).as_py())


def _spellings(column: TextColumn) -> list[str]:
    """Return the different values, but for missing ones, where all are parts with points between them; else []."""
    for values in (column.values.slice(0, SAMPLED_ROWS), column.values):
        names = [name for name in pc.unique(pc.utf8_trim_whitespace(values)).to_pylist() if name]
        names = [name for name in names if not is_missing_word(name)]
        if len(names) > MAX_CATEGORIES or not all(ANY_PARTS.fullmatch(name) for name in names):
            return []
    return names
