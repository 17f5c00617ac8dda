"""Parses numbers written as text: which texts are numbers, missing values, or neither."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.frames import Bools, Floats
from app.ml.data.written_numbers import MISSING_WORD

NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
INFINITE = r"(?i)^[+-]?(inf|infinity)$"
OTHER_NOTATION = r"^[+-]?[$€£]?\d{1,3}([ _.,']?\d{3})*([.,]\d+)?\s?[%$€£]?$"


@dataclass(frozen=True, slots=True)
class ParsedNumbers:
    """A text column parsed as numbers; each array has one entry per row.

    `values` is NaN where a row is no finite number; `words` marks missing values that are written out (NaN, NA, null,
    unknown, ?), `infinite` inf and what no float64 holds (1e999), and `foreign` what is no number at all; `whole` says
    whether all numbers are integers.
    """

    values: Floats
    missing: Bools
    words: Bools
    infinite: Bools
    foreign: Bools
    whole: bool


def parse_numbers(text: Any) -> ParsedNumbers:
    """Parse the Arrow string array `text` (N,) as numbers."""
    trimmed = pc.utf8_trim_whitespace(text)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    missing = to_bools(pc.is_null(trimmed))
    values = _parse_all(trimmed)
    if values is None or not np.isfinite(values[~missing]).all():
        return _parse_each(trimmed, missing)
    none = np.zeros(len(missing), dtype=np.bool_)
    return ParsedNumbers(values, missing, none, none, none, _all_whole(trimmed, values, missing))


def _parse_all(trimmed: Any) -> Floats | None:
    """Parse all values at once, which is fast; None where one of them is no number."""
    try:
        return np.array(pc.cast(trimmed, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        return None


def _parse_each(trimmed: Any, missing: Bools) -> ParsedNumbers:
    """Parse the values that are numbers, and mark the others."""
    number = to_bools(pc.match_substring_regex(trimmed, NUMBER))
    words = to_bools(pc.match_substring_regex(trimmed, MISSING_WORD))
    infinite = to_bools(pc.match_substring_regex(trimmed, INFINITE))
    values = np.full(len(missing), np.nan)
    chosen = trimmed.filter(pa.array(number)).to_pylist()
    values[number] = np.fromiter(map(float, chosen), np.float64, len(chosen))
    infinite |= np.isinf(values)
    values[infinite] = np.nan
    foreign = ~(number | words | infinite | missing)
    outside = missing | words | infinite | foreign
    return ParsedNumbers(values, missing, words, infinite, foreign, _all_whole(trimmed, values, outside))


def _all_whole(trimmed: Any, values: Floats, outside: Bools) -> bool:
    """Return whether every number is written as an integer."""
    inside = values[~outside]
    if not (inside == np.floor(inside)).all():
        return False
    return not pc.any(pc.match_substring_regex(trimmed.filter(pa.array(~outside)), r"^[+-]?\d*\.")).as_py()


def looks_like_other_number_notation(text: Any) -> bool:
    """Return whether most values look like 1,5 or 1.000,00 or 1_000 or $5: numbers in a notation that is not read."""
    return mostly(text, OTHER_NOTATION)


def mostly(text: Any, pattern: str) -> bool:
    """Return whether more than half of the values match a pattern, without the blanks around them."""
    matches = to_bools(pc.match_substring_regex(pc.utf8_trim_whitespace(text), pattern))
    return bool(matches.sum() > len(matches) / 2)


def to_bools(array: Any) -> Bools:
    """Return an Arrow array of booleans (N,) as a NumPy array, null as False."""
    return np.asarray(pc.fill_null(array, fill_value=False).to_numpy(zero_copy_only=False), dtype=np.bool_)
