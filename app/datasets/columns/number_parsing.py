"""Numbers written as text: what counts as one, what is missing, what is refused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.frames import Bools, Floats

NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
WRITTEN_OUT = r"(?i)^([+-]?(nan|inf|infinity)|na|n/a|null|none|nil|\?|-)$"
OTHER_NOTATION = r"^[+-]?[$€£]?\d{1,3}([ _.,']?\d{3})*([.,]\d+)?\s?[%$€£]?$"


@dataclass(frozen=True, slots=True)
class Lexed:
    """A text column seen as numbers; each array has one entry per row.

    `values` is NaN wherever a row is not a finite number; `special` marks missing values that are written out (NaN,
    inf, 1e999, NA, null); `foreign` marks what is no number at all.
    """

    values: Floats
    missing: Bools
    special: Bools
    foreign: Bools
    whole: bool


def lex(text: Any) -> Lexed:
    """Read the Arrow string array `text` (N,) as numbers."""
    trimmed = pc.utf8_trim_whitespace(text)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    missing = _bools(pc.is_null(trimmed))
    values = _fast(trimmed)
    if values is None or not np.isfinite(values[~missing]).all():
        return _careful(trimmed, missing)
    nothing = np.zeros(len(missing), dtype=np.bool_)
    return Lexed(values, missing, nothing, nothing, _whole(trimmed, values, missing))


def _fast(trimmed: Any) -> Floats | None:
    """Read all values at once, or return None when one of them is no number."""
    try:
        return _floats(pc.cast(trimmed, pa.float64()))
    except pa.ArrowInvalid:
        return None


def _careful(trimmed: Any, missing: Bools) -> Lexed:
    number = _bools(pc.match_substring_regex(trimmed, NUMBER))
    special = _bools(pc.match_substring_regex(trimmed, WRITTEN_OUT))
    values = np.full(len(missing), np.nan)
    chosen = trimmed.filter(pa.array(number)).to_pylist()
    values[number] = np.fromiter(map(float, chosen), np.float64, len(chosen))
    special |= np.isinf(values)
    values[special] = np.nan
    foreign = ~(number | special | missing)
    return Lexed(values, missing, special, foreign, _whole(trimmed, values, missing | special | foreign))


def _whole(trimmed: Any, values: Floats, outside: Bools) -> bool:
    """Whether every number is written as an integer."""
    inside = values[~outside]
    if not (inside == np.floor(inside)).all():
        return False
    return not pc.any(pc.match_substring_regex(trimmed, r"^[+-]?\d*\.")).as_py()


def looks_like_other_notation(text: Any) -> bool:
    """Whether most values look like 1,5 or 1.000,00 or 1_000 or $5: numbers in a notation that is not read."""
    hits = _bools(pc.match_substring_regex(pc.utf8_trim_whitespace(text), OTHER_NOTATION))
    return bool(hits.sum() > len(hits) / 2)


def _bools(array: Any) -> Bools:
    return np.asarray(pc.fill_null(array, fill_value=False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _floats(array: Any) -> Floats:
    return np.array(array.to_numpy(zero_copy_only=False), dtype=np.float64)
