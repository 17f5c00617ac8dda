"""Whether the first line of a table holds the names of its columns or is a row like those below it.

Field by field: a name is unlike the values below it. A word above numbers is a name; a number above numbers is a value,
unless the numbers of the line count up (0, 1, 2) or are years (2019, 2020); among values that repeat, one of them is a
value and another word a name.
"""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.datasets.columns.date_parsing import OTHER_DATES
from app.ml.data.dates import PATTERN
from app.ml.data.written_numbers import MISSING_WORD

Evidence: TypeAlias = Literal["name", "value", "repeated", "unlike", "none"]
ANY_NUMBER = re.compile(r"[+-]?(\d[\d.,']*|[.,]\d+)([eE][+-]?\d+)?")
ANY_DATE = re.compile(f"{PATTERN}|{OTHER_DATES.removeprefix('(?i)')}", re.IGNORECASE)
UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*")
MISSING = re.compile(MISSING_WORD)
MIN_LIKE_SHARE = 0.9
MIN_REPEATED_ROWS = 4
MIN_UNLIKE_ROWS = 10
MIN_PROGRESSION = 5
STEP_ERROR = 1e-6
YEARS = range(1800, 2101)


@dataclass(frozen=True, slots=True)
class HeaderVerdict:
    """Whether the first line holds names, and the evidence in words.

    `evident`: something says so, rather than nothing the contrary; `doubtful`: some of it does say the contrary.
    """

    names: bool
    reason: str
    evident: bool = True
    doubtful: bool = False


def judge_first_line(first: Sequence[str], below: Sequence[Sequence[str]]) -> HeaderVerdict:
    """Return whether the fields `first` are the names of the columns whose values are `below`, rows of the table."""
    if _repeats_as_names(first, below):
        return HeaderVerdict(names=True, reason="it stands among the rows again, and none of its fields does otherwise")
    return _judge_fields(first, below)


def _judge_fields(first: Sequence[str], below: Sequence[Sequence[str]]) -> HeaderVerdict:
    """Return the verdict by the evidence of each field."""
    columns = [[row[j].strip() for row in below if j < len(row)] for j in range(len(first))]
    evidence = [_evidence(field.strip(), values) for field, values in zip(first, columns, strict=True)]
    counting = _counts_up(first, below)
    if counting:
        evidence = ["none" if kind == "value" else kind for kind in evidence]
    count = Counter(evidence)
    fits = count["value"] + count["repeated"]
    if not below and all(ANY_NUMBER.fullmatch(field.strip()) for field in first) and not counting:
        return HeaderVerdict(names=False, reason="it holds only numbers")
    if not count["name"] and fits > (0 if count["value"] else count["unlike"]):
        return HeaderVerdict(names=False, reason=f"{fits} of its {len(first)} fields are like the values below them")
    if fits > len(first) / 2:
        return HeaderVerdict(
            names=True, reason=f"{count['name']} of its fields are unlike the values below", doubtful=True
        )
    if counting:
        known = all(field.strip() in values for field, values in zip(first, columns, strict=True))
        return HeaderVerdict(names=True, reason="its numbers count up, unlike the rows below", doubtful=known)
    if count["name"] or count["unlike"]:
        return HeaderVerdict(names=True, reason="its fields are unlike the values below them")
    return HeaderVerdict(names=True, reason="nothing says that it is a row", evident=False)


def _repeats_as_names(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Return whether names stand among the rows again, as in files below each other, and no field does so otherwise."""
    if len(first) < 2 or any(ANY_NUMBER.fullmatch(field.strip()) for field in first):  # noqa: PLR2004 - a word may recur
        return False
    others = [row for row in below if list(row) != list(first)]
    return len(others) < len(below) and not any(field in row for row in others for field in first)


def _evidence(field: str, values: Sequence[str]) -> Evidence:
    """Return what a field says of the first line, given the values below it."""
    present = [value for value in values if value and not MISSING.match(value)]
    if UNNAMED.fullmatch(field):
        return "name"
    if not present:
        return "none"
    for pattern in (ANY_NUMBER, ANY_DATE):
        if sum(pattern.fullmatch(value) is not None for value in present) >= MIN_LIKE_SHARE * len(present):
            if pattern.fullmatch(field):
                return "value"
            unknown = not field or MISSING.match(field)
            return "none" if unknown and len(present) < len(values) else "name"
    return _evidence_of_text(field, Counter(present))


def _evidence_of_text(field: str, counts: Counter[str]) -> Evidence:
    rows = counts.total()
    if not field or 2 * len(counts) > rows or rows < MIN_REPEATED_ROWS:
        return "none"
    if counts[field] > 1:
        return "repeated"
    return "unlike" if rows >= MIN_UNLIKE_ROWS and not MISSING.match(field) else "none"


def _counts_up(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Return whether the numbers of a line are those of columns, steps or years, which the rows below are not."""
    positions = [j for j, field in enumerate(first) if _as_float(field) is not None]
    if not _are_labels([first[j] for j in positions]):
        return False
    rows = [[row[j] for j in positions if j < len(row)] for row in below]
    same = sum(_are_labels(row) for row in rows)
    if len(positions) == 2 and not same:  # noqa: PLR2004 - "0,1" above fractions; two whole numbers may be a row
        return _are_years([first[j] for j in positions]) or any("." in field for row in rows for field in row)
    return 2 * same < max(len(rows), 1)


def _are_labels(fields: Sequence[str]) -> bool:
    """Return whether these numbers count columns (0, 1, 2), are five or more at equal distances, or ascending years."""
    numbers = [number for field in fields if (number := _as_float(field)) is not None]
    if not numbers or len(numbers) < len(fields):
        return False
    if _are_years(fields):
        return True
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    if len(numbers) < MIN_PROGRESSION:  # so few may be at equal distances by chance
        return numbers[0] in {0, 1} and all(step == 1 for step in steps) and len(numbers) > 1
    return steps[0] != 0 and all(abs(step - steps[0]) < STEP_ERROR * abs(steps[0]) for step in steps)


def _are_years(fields: Sequence[str]) -> bool:
    years = [int(field) for field in fields if field.strip().isdecimal()]
    ascending = all(before < after for before, after in itertools.pairwise(years))
    return len(years) == len(fields) and ascending and all(year in YEARS for year in years)


def _as_float(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None
