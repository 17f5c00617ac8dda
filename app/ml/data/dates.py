"""Dates as numbers: days since 1970-01-01, the fraction being the time of day; no torch, so that readers may use it.

ISO 8601 as in 2024-02-29, 2024-02-29T13:45, 2024-02-29 13:45:30.5+01:00; a time zone is converted to UTC, a time
without one is taken as it stands. A float64 of days holds microseconds from 1790 to 2149, and tenths of milliseconds in
any other year; the float32 of datasets of earlier releases holds today's time of day to about three minutes.
"""

import math
import re
import struct
from datetime import UTC, datetime, timedelta

PATTERN = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?( ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?))?)?$"
FIRST, LAST = -719_162.0, 2_932_897.0  # 0001-01-01 and the end of 9999-12-31
_ISO = re.compile(PATTERN, re.ASCII)
_ZONE = re.compile(r" ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_DAY_SECONDS = 86_400
EXACT_DAYS = 65_536.0  # before and after 1970 every microsecond is a float64 of its own
_COARSE = 100  # microseconds: what any other year holds
_GRIDS = (_DAY_SECONDS, 3600, 900, 300, 60, 1)


def from_iso(text: str) -> float | None:
    """Return the days of an ISO 8601 date or date-time, or None where `text` is none."""
    trimmed = text.strip()
    if not _ISO.match(trimmed):
        return None
    try:
        return _since_epoch(trimmed) / _DAY
    except (ValueError, OverflowError):
        return None


def loses_microseconds(text: str, days: float) -> bool:
    """Return whether a date that was read as `days` has digits that these do not hold."""
    return abs(days) >= EXACT_DAYS and _since_epoch(text.strip()).microseconds % _COARSE != 0


def _since_epoch(text: str) -> timedelta:
    zone = _ZONE.search(text, len("2024-02-29"))
    if zone is not None:  # Python knows no blank before a zone, and no names
        text = text[: zone.start()] + ("Z" if zone[1].isalpha() else zone[1])
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH


def to_iso(days: float) -> str:
    """Return days within FIRST .. LAST as a date, or as a date-time where they have a fraction."""
    days = min(max(days, FIRST), LAST - 1e-9)
    whole = math.floor(days)  # the fraction alone is multiplied: the product of all would lose microseconds
    step = 1 if abs(days) < EXACT_DAYS else _COARSE
    moment = _EPOCH + timedelta(days=whole, microseconds=round((days - whole) * _DAY_SECONDS * 1e6 / step) * step)
    return moment.date().isoformat() if days == int(days) else moment.replace(tzinfo=None).isoformat()


def stored_to_iso(days: float) -> str:
    """Return days that were rounded to float32 as the roundest date-time that rounds to the same: 10:00, not 09:59."""
    stored = _float32(days)
    seconds = days * _DAY_SECONDS
    near = (round(seconds / grid) * grid / _DAY_SECONDS for grid in _GRIDS)
    return to_iso(next((candidate for candidate in near if _float32(candidate) == stored), days))


def _float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
