"""Columns of dates written as text: ISO 8601 alone, since 03/04/2020 means two days."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.frames import Bools, Floats
from app.ml.data.dates import FIRST, LAST, PATTERN, from_iso, to_iso

__all__ = ["DATE_NOTATION", "FIRST", "LAST", "Parsed", "looks_like_other_dates", "parse", "to_iso"]
DATE_NOTATION = "write dates as 2024-02-29 or 2024-02-29T13:45 (ISO 8601)"
OTHER_DATES = (
    r"(?i)^(\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})|\d{4}[./]\d{1,2}[./]\d{1,2}|\d{1,2}\.? ?[a-z]{3,9}\.?,? ?\d{4})"
    r"([ T,].*)?$"
)
MOSTLY = 0.8


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text column seen as dates: days (N,), NaN where missing or no date; foreign (N,) marks what is no date.

    `present` values are there, `zoned` of the dates name their time zone.
    """

    days: Floats
    foreign: Bools
    present: int
    zoned: int


def parse(text: Any, *, anyway: bool) -> Parsed | None:
    """Read the Arrow strings `text` (N,) as dates; None where fewer than most look like that, unless `anyway`."""
    trimmed = pc.utf8_trim_whitespace(text)
    missing = _bools(pc.or_kleene(pc.is_null(trimmed), pc.equal(trimmed, "")))
    present = int((~missing).sum())
    looks = _bools(pc.match_substring_regex(trimmed, PATTERN))
    if not anyway and (not present or looks.sum() < MOSTLY * present):
        return None
    days = np.full(len(missing), np.nan)
    start = 0
    for chunk in trimmed.chunks if isinstance(trimmed, pa.ChunkedArray) else [trimmed]:
        values = (None if value is None else from_iso(value) for value in chunk.to_pylist())
        found = (np.nan if value is None else value for value in values)
        days[start : start + len(chunk)] = np.fromiter(found, np.float64, len(chunk))
        start += len(chunk)
    zoned = _bools(pc.match_substring_regex(trimmed, r":\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"))
    return Parsed(days, np.isnan(days) & ~missing, present, int((zoned & ~np.isnan(days)).sum()))


def looks_like_other_dates(text: Any) -> bool:
    """Whether most values look like 03/04/2020 or 1 May 2020: dates whose order of parts is anyone's guess."""
    hits = _bools(pc.match_substring_regex(pc.utf8_trim_whitespace(text), OTHER_DATES))
    return bool(hits.sum() > len(hits) / 2)


def _bools(array: Any) -> Bools:
    return np.asarray(pc.fill_null(array, fill_value=False).to_numpy(zero_copy_only=False), dtype=np.bool_)
