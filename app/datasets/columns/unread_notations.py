"""Dates, times and numbers in notations that are not read, since what they mean is not certain."""

from typing import Any

from app.datasets.columns.date_parsing import DATE_NOTATION, looks_like_other_date_notation
from app.datasets.columns.number_parsing import looks_like_other_number_notation, mostly

NUMBER_NOTATION = (
    "write numbers as 1234.5, without separators or currency; of a CSV with 1,5 for 1.5 set decimal to comma"
)
TIME = r"(?i)^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]\.?m\.?)?$"
MEASURE = r"^[+-]?(\d+[.,]\d+\s?|\d+\s)[a-zA-Z\p{Greek}µ°%/²³]{1,6}$"


def unread_notation(text: Any) -> str | None:
    """Return how to write the values of a column, where most look like dates, times or numbers; else None."""
    if looks_like_other_date_notation(text):
        return f"its values look like dates: {DATE_NOTATION}"
    if mostly(text, TIME):
        return "its values look like times: write them as numbers, of minutes say"
    if looks_like_other_number_notation(text):
        return f"its values look like numbers: {NUMBER_NOTATION}"
    if mostly(text, MEASURE):
        return "its values look like numbers with units: write the numbers alone, all in one unit"
    return None
