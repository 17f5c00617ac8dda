"""Times are seconds since the epoch inside and ISO 8601 in UTC outside."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator


def _to_datetime(value: object) -> object:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, float | int) else value


Timestamp = Annotated[datetime, BeforeValidator(_to_datetime)]
