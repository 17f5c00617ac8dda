"""Dates, times and numbers in notations that are not read, since what they mean is not certain."""

from typing import Any

from app.datasets.columns.date_parsing import DATE_NOTATION, looks_like_other_date_notation
from app.datasets.columns.number_parsing import looks_like_other_number_notation, mostly

NUMBER_NOTATION = (
    "write numbers as 1234.5, without separators or currency; of a CSV with 1,5 for 1.5 set decimal to comma"
)
TIME = r"(?i)^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]\.?m\.?)?$"
UNIT = (
    r"([kmcµn]?[gmls]|[kmM](W|V|A|J|Pa)|Hz|lbs?|oz|mi|ft|in|k?cal|[kMG]?Wh|[kMGT]B|[MG](Hz|W)|h?Pa|bar|min|h|hrs?|px|pt|mph"
    r"|kHz|kmh|km/h|dB|bpm|rpm|pp[mb])"
)
MEASURE = rf"^[+-]?((\d+[.,]\d+\s?|\d+\s|\d+°)[a-zA-Z\p{{Greek}}µ°%/²³]{{1,6}}|\d+{UNIT})$"
SPAN_UNIT = r"(d|h|m|s|ms|days?|hrs?|hours?|min|minutes?|sec|seconds?)"
SPAN = rf"(?i)^-?(P(\d+[YMWD])*(T(\d+(\.\d+)?[HMS])+)?|(\d+(\.\d+)? ?{SPAN_UNIT},? ?){{2,}}|\d+ days?,? [+-]?[\d:.]+)$"
FORTRAN = r"^[+-]?(\d+\.?\d*|\.\d+)[dD][+-]\d+$"
PAIR = r"^\(?[+-]?\d+(\.\d+)?\s*[,;/x:]\s*[+-]?\d+(\.\d+)?\)?$"
NESTED = r"(?s)^\[\s*[\[{].*\]$"
OBJECT = r"""(?s)^\{\s*['"].*:.*\}$"""
HINTS = (
    (TIME, "its values look like times: write them as numbers, of minutes say"),
    (SPAN, "its values look like spans of time: write them as numbers, of minutes say"),
    (FORTRAN, "its values look like numbers: write their exponents with an E, as in 1.5E+03"),
    (MEASURE, "its values look like numbers with units: write the numbers alone, all in one unit"),
    (PAIR, "its values look like two numbers each: write a column for each of them"),
    (NESTED, "its values look like lists of lists: write them as JSON Lines or Parquet, which hold lists"),
    (OBJECT, "its values look like objects: write a column for each key"),
)


def unread_notation(text: Any, *, numbers: bool = True) -> str | None:
    """Return how to write the values of a column, where most look like dates, times, numbers or lists; else None.

    Without `numbers` those that look like plain ones are taken for names.
    """
    if looks_like_other_date_notation(text):
        return f"its values look like dates: {DATE_NOTATION}"
    if numbers and looks_like_other_number_notation(text):
        return f"its values look like numbers: {NUMBER_NOTATION}"
    return next((hint for pattern, hint in HINTS if mostly(text, pattern)), None)
