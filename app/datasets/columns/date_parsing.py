"""Parses dates written as text: ISO 8601 alone, since 03/04/2020 may be two dates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.number_parsing import to_bools
from app.datasets.frames import Bools, Floats, Ints
from app.ml.data.dates import EXACT_DAYS, FIRST, LAST, PATTERN, from_iso, loses_microseconds, to_iso
from app.ml.data.written_numbers import MISSING_WORD

__all__ = ["DATE_NOTATION", "FIRST", "LAST", "ParsedDates", "looks_like_other_date_notation", "parse_dates", "to_iso"]
DATE_NOTATION = "write dates as 2024-02-29 or 2024-02-29T13:45 (ISO 8601)"
MONTH = r"(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]{0,6}\.?"
OTHER_DATES = (
    r"(?i)^(\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})|\d{4}[./]\d{1,2}[./]\d{1,2}|\d{1,2}\.? ?[a-z]{3,9}\.?,? ?\d{4}"
    rf"|([a-z]{{2,10}}\.?,? )?(\d{{1,2}}[-/. ]{{1,2}}{MONTH}[-/,. ]{{1,2}}(\d{{4}}|\d{{2}})"
    rf"|{MONTH} \d{{1,2}},? \d{{4}})|(19|20)\d\d-(\d{{2,3}}|W\d{{2}}(-\d)?|Q[1-4])|\d{{8}}T\d{{4,6}}"
    r"|\d{4}-\d{2}-\d{2}[T ]\d{1,2}:\d{2}[^a-z]*( ?[a-z]{1,5})?)"
    r"([ T,Z+].*)?$"
)
MIN_DATE_SHARE = 0.8
MIN_CALENDAR_DAYS = 5  # one number in 27 is a day of the calendar by chance
PARSED_AT_A_TIME = 1 << 16
FIRST_CALENDAR_DAY, LAST_CALENDAR_DAY = 19_000_101, 21_001_231


@dataclass(frozen=True, slots=True)
class ParsedDates:
    """A text column parsed as dates: days (N,), NaN where missing or no date; foreign (N,) marks what is no date.

    `words` (N,) marks missing values that are written out (NaT, NA, null, unknown, ?), `present` is the number of other
    values, `zoned` that of dates with a time zone. `cut` are the rows whose microseconds are lost in days.
    """

    days: Floats
    words: Bools
    foreign: Bools
    present: int
    zoned: int
    cut: Ints


def parse_dates(text: Any, *, force: bool) -> ParsedDates | None:
    """Parse the Arrow strings `text` (N,) as dates; None where too few of them look like dates, unless `force`."""
    trimmed = pc.utf8_trim_whitespace(text)
    missing = to_bools(pc.or_kleene(pc.is_null(trimmed), pc.equal(trimmed, "")))
    words = to_bools(pc.match_substring_regex(trimmed, MISSING_WORD))
    present = int((~(missing | words)).sum())
    looks_like_date = to_bools(pc.match_substring_regex(trimmed, PATTERN))
    if not force and (not present or looks_like_date.sum() < MIN_DATE_SHARE * present):
        return None
    days = _days(trimmed)
    zoned = to_bools(pc.match_substring_regex(trimmed, r":\d{2}.*(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$"))
    foreign = np.isnan(days) & ~missing & ~words
    return ParsedDates(days, words, foreign, present, int((zoned & ~np.isnan(days)).sum()), _cut(trimmed, days))


def _days(text: Any) -> Floats:
    """Return the days of each text (N,), NaN where it is no date; each different text is parsed once."""
    encoded = pc.dictionary_encode(text)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    known = np.full(len(encoded.dictionary) + 1, np.nan)  # the last one is for missing texts
    for start in range(0, len(encoded.dictionary), PARSED_AT_A_TIME):
        parsed = [from_iso(value) for value in encoded.dictionary.slice(start, PARSED_AT_A_TIME).to_pylist()]
        known[start : start + len(parsed)] = [np.nan if value is None else value for value in parsed]
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    days: Floats = known[codes]
    return days


def _cut(text: Any, days: Floats) -> Ints:
    """Return the rows of dates in far years whose microseconds are lost."""
    far = np.flatnonzero((np.abs(days) >= EXACT_DAYS) & (days != np.floor(days)))
    lost = [row for row in far.tolist() if loses_microseconds(text[row].as_py(), days[row])]
    return np.array(lost, dtype=np.int64)


def rows_with_cut_times(days: Floats) -> Ints:
    """Return the rows of days (N,) in far years that are no tenths of milliseconds, but for rounding."""
    whole = np.floor(days)
    coarse = whole + np.round((days - whole) * 864e6) / 864e6
    return np.flatnonzero((np.abs(days) >= EXACT_DAYS) & (np.abs(coarse - days) > np.spacing(np.abs(days))))


def look_like_calendar_days(values: Floats) -> bool:
    """Return whether whole numbers (N,), NaN = missing, are days such as 20240229: several, all in the calendar."""
    if not (np.fmin.reduce(values) >= FIRST_CALENDAR_DAY and np.fmax.reduce(values) <= LAST_CALENDAR_DAY):
        return False
    days = np.unique(values[~np.isnan(values)])
    if len(days) < MIN_CALENDAR_DAYS or (days != np.floor(days)).any():
        return False
    month, day = days // 100 % 100, days % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())  # noqa: PLR2004 - of a calendar


def looks_like_other_date_notation(text: Any) -> bool:
    """Return whether most values look like 03/04/2020 or 1 May 2020: dates whose order of parts can only be guessed."""
    matches = to_bools(pc.match_substring_regex(pc.utf8_trim_whitespace(text), OTHER_DATES))
    return bool(matches.sum() > len(matches) / 2)
