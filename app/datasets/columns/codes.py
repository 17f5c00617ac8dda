"""Codes: columns of digits that are no numbers, such as 01067, 12E4, or what is called a zip code."""

import re
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.names import is_called_code, is_called_postal
from app.datasets.frames import TextColumn
from app.datasets.report import Notes

Judgement: TypeAlias = Literal["category", "number"]
DIGITS = r"^\d+$"
LEADING_ZERO = r"^0\d+$"
EXPONENT = r"^\d+[eE]\d+$"
AMOUNT = r"^([+-]\d|[+-]?\d*\.\d|\d+[eE][+-])"  # a sign or a point: what has them is measured or counted
WHOLE_FLOAT = re.compile(r"-?(0|[1-9]\d{0,15})\.0")
SAMPLED_ROWS = 10_000
MAX_SHOWN = 5
MIN_SAMPLED_SHARE = 0.1
MIN_DIGITS_SHARE = 0.5  # with fewer the column is no column of numbers anyway
MIN_ZEROS_SHARE = 0.01
MIN_EXPONENT_SHARE = 0.5
MIN_DIGITS = 2


def judge_codes(column: TextColumn) -> tuple[Judgement, str] | None:
    """Return what a column of digits is where that is in doubt, and the evidence: category means codes."""
    if _digits_share(column.values.slice(0, SAMPLED_ROWS)) < MIN_SAMPLED_SHARE:
        return None
    text = _stripped(column.values)
    if _digits_share(text) < MIN_DIGITS_SHARE or _count(text, AMOUNT):
        return None
    lengths = pc.utf8_length(text)
    shortest, longest = pc.min(lengths).as_py(), pc.max(lengths).as_py()
    judged = _by_writing(text, alike=shortest == longest)
    if judged is None and is_called_code(column.name) and _count(text, DIGITS) == len(text):
        if shortest == longest >= MIN_DIGITS:
            return "category", f"its name says so, and every value has {longest} digits"
        if is_called_postal(column.name):
            return "category", "its name says so, and every value is digits alone"
    return judged


def merge_whole_numbers(name: str, text: Any, notes: Notes) -> Any:
    """Return the names of categories with 1 in place of 1.0 where both occur: one number, written in two ways."""
    names = set(pc.unique(text).drop_null().to_pylist())
    merged = sorted(other for other in names if WHOLE_FLOAT.fullmatch(other) and other.partition(".")[0] in names)
    if not merged:
        return text
    shown = ", ".join(f"{other} = {other.partition('.')[0]}" for other in merged[:MAX_SHOWN])
    notes.notice(f"column {name}: {len(merged)} whole numbers that are written in two ways were merged: {shown}")
    return pc.if_else(pc.is_in(text, pa.array(merged, pa.string())), pc.replace_substring(text, ".0", ""), text)


def _by_writing(text: Any, *, alike: bool) -> tuple[Judgement, str] | None:
    """Judge digits by how they are written; `alike`: all have the same length."""
    total = len(text)
    for pattern, what, min_share in (
        (LEADING_ZERO, "begin with a zero", MIN_ZEROS_SHARE),
        (EXPONENT, "are digits, E and digits", MIN_EXPONENT_SHARE),
    ):
        count = _count(text, pattern)
        if count:
            codes = alike or count >= min_share * total
            return (
                "category" if codes else "number",
                f"{count} of {total} values {what}, such as {_first(text, pattern)}",
            )
    return None


def _stripped(values: Any) -> Any:
    text = pc.utf8_trim_whitespace(values)
    return text.filter(pc.not_equal(text, ""))


def _digits_share(values: Any) -> float:
    text = _stripped(values)
    return (_count(text, DIGITS) + _count(text, EXPONENT)) / max(1, len(text))


def _count(text: Any, pattern: str) -> int:
    return int(pc.sum(pc.match_substring_regex(text, pattern)).as_py() or 0)


def _first(text: Any, pattern: str) -> str:
    matches = text.filter(pc.match_substring_regex(text, pattern))
    return str((matches.chunks if isinstance(matches, pa.ChunkedArray) else [matches])[0][0].as_py())
