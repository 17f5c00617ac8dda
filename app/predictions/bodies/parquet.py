"""Parquet: every row is an object of the columns' values."""

import datetime as dt
import decimal
import io
import math
from typing import Any

from app.errors import TooLargeError
from app.predictions.bodies.form import BodyForm, check_count, unreadable

MAX_UNPACKED_BYTES = 512 << 20


def read(content: bytes) -> list[Any]:
    """Return the rows of a Parquet file.

    Raises:
        UnprocessableError: the file is damaged, or has too many rows.
        TooLargeError: it unpacks to more than 512 MiB.
    """
    import pyarrow as pa  # noqa: PLC0415 - half a second, for this form alone
    from pyarrow import parquet  # noqa: PLC0415 - the same

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        check_count(file.metadata.num_rows)
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        if sum(group.total_byte_size for group in groups) > MAX_UNPACKED_BYTES:
            msg = f"The file unpacks to more than {MAX_UNPACKED_BYTES} bytes: send fewer rows at once."
            raise TooLargeError(msg)
        return [_plain(row) for row in _in_microseconds(file.read()).to_pylist()]
    except (pa.ArrowException, OSError, ValueError) as error:
        msg = f"this is no Parquet file that can be read: {str(error)[:200]}"
        raise unreadable(msg) from None


def _in_microseconds(table: Any) -> Any:
    """Return the table with times that Python can hold; nanoseconds are cut."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            times = table.column(index).cast(pa.timestamp("us", field.type.tz), safe=False)
            table = table.set_column(index, field.name, times)
    return table


def _seconds(value: dt.time | dt.timedelta) -> float:
    """Return a span of time, or the time since midnight, in seconds, as preparation reads it."""
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return (value.hour * 60 + value.minute) * 60 + value.second + value.microsecond / 1e6


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; NaN is a missing value, and bytes stay."""
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case float() if math.isnan(value):
            return None
        case _:
            return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case dt.date():
            return value.isoformat()
        case dt.time() | dt.timedelta():
            return _seconds(value)
        case decimal.Decimal():
            return float(value)
        case _:
            return value


FORM = BodyForm(
    ("application/vnd.apache.parquet", "application/parquet", "application/x-parquet"),
    (".parquet",),
    read,
    magic=(b"PAR1",),
)
