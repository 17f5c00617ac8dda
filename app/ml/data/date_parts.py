"""The parts of dates that come again: month, weekday, hour and day of the month, from days since 1970-01-01; no torch.

A part is a place in its period, 0 <= p < 1, and becomes sine and cosine of 2 pi h p for h = 1 .. `HARMONICS`: December
is near January and 23 h near 0 h, and a linear model of three harmonics can give each weekday a value of its own.

Every function takes and returns float64 arrays of NumPy or tensors of torch, with the `floor` of theirs. Dates are of
the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms", 2013, days_from_civil backwards).
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from app.ml.spec import DatePart

Days = TypeVar("Days")
Floor = Callable[[Any], Any]

PARTS: tuple[DatePart, ...] = get_args(DatePart)
HARMONICS: dict[DatePart, int] = {"month": 1, "weekday": 3, "hour": 2, "day_of_month": 1}
YEAR, WEEK = 365.2425, 7.0
_CALENDAR_START = (
    719_468.0  # days from 0000-03-01 to 1970-01-01: where years begin with March, leap days are their last
)
_ERA, _CENTURY, _FOUR_YEARS = 146_097.0, 36_524.0, 1_461.0  # days of 400, 100 and 4 years
_FEBRUARY = 11.0


def _month_of(days: Any, floor: Floor) -> tuple[Any, Any, Any]:
    """Return the month (March is 0), the day in it from 0 on, and how many days the month has."""
    day = floor(days) + _CALENDAR_START
    day = day - floor(day / _ERA) * _ERA  # in its 400 years
    leap_days = floor(day / (_FOUR_YEARS - 1)) - floor(day / _CENTURY) + floor(day / (_ERA - 1))
    year = floor((day - leap_days) / 365)
    day = day - (365 * year + floor(year / 4) - floor(year / 100))  # in its year
    month = floor((5 * day + 2) / 153)
    first, next_first = floor((153 * month + 2) / 5), floor((153 * month + 155) / 5)
    return month, day - first, next_first - first - 2.0 * (month == _FEBRUARY)


def _share(days: Any, period: float, floor: Floor) -> Any:
    return days / period - floor(days / period)


def _day_of_month(days: Any, floor: Floor) -> Any:
    _, day, length = _month_of(days, floor)
    return (day + days - floor(days)) / length


PLACES: dict[str, Callable[[Any, Floor], Any]] = {
    "month": lambda days, floor: _share(days, YEAR, floor),
    "weekday": lambda days, floor: _share(floor(days), WEEK, floor),
    "hour": lambda days, floor: _share(days, 1.0, floor),
    "day_of_month": _day_of_month,
    "week": lambda days, floor: _share(days, WEEK, floor),  # of models of earlier releases
}
"""The place in its period of each part, (n,) to (n,); a day of the month is one of the month's own length."""


def varying_parts(days: NDArray[np.float64]) -> tuple[DatePart, ...]:
    """Return the parts that differ among days (n,), NaN being missing."""
    known = days[~np.isnan(days)]
    month, day, _ = _month_of(known, np.floor)
    values = {"month": month, "weekday": np.floor(known) % WEEK, "hour": known - np.floor(known), "day_of_month": day}
    return tuple(part for part in PARTS if len(np.unique(values[part])) > 1)
