"""Parquet: every row is an object of the columns' values."""

import datetime as dt
import decimal
import io
import math
from typing import Any

from app.errors import TooLargeError
from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.schemas import MAX_INPUTS

_ROWS_AT_ONCE = 64
_VALUE_BYTES = 128  # an object, and its entry in that of its row


def read(content: bytes) -> list[Any]:
    """Return the rows of a Parquet file.

    Raises:
        UnprocessableError: the file is damaged, or has too many rows.
        TooLargeError: it unpacks to more than it says.
    """
    import pyarrow as pa  # noqa: PLC0415 - half a second, for this form alone
    from pyarrow import parquet  # noqa: PLC0415 - the same

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        check_count(file.metadata.num_rows)
        return [_plain(row) for row in _rows(file)]
    except (pa.ArrowException, OSError, ValueError) as error:
        msg = f"this is no Parquet file that can be read: {str(error)[:200]}"
        raise unreadable(msg) from None


def rows_of(table: Any) -> list[Any]:
    """Return the rows of an Arrow table as objects by column."""
    return [_plain(row) for row in _in_microseconds(table).to_pylist()]


def _rows(file: Any) -> list[Any]:
    """Return the rows, a few at a time: a value that a dictionary holds once may stand in every row.

    Raises:
        TooLargeError: they take more than was reserved for them.
    """
    import pyarrow as pa  # noqa: PLC0415 - as above

    rows: list[Any] = []
    unpacked, most = 0, _unpacked_bytes(file.metadata)
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
        unpacked += batch.nbytes
        if unpacked > most:
            msg = (
                f"Long values that the file holds once stand in many rows, and take over {most} bytes: send fewer rows."
            )
            raise TooLargeError(msg)
        rows += _in_microseconds(pa.Table.from_batches([batch])).to_pylist()
    return rows


def parsed_bytes(content: bytes) -> int:
    """Return the bytes of memory that the rows take at most, by what the file says of itself; 0 for a damaged one."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import parquet  # noqa: PLC0415 - the same

    try:
        metadata = parquet.ParquetFile(io.BytesIO(content)).metadata
        return _unpacked_bytes(metadata) if metadata.num_rows <= MAX_INPUTS else 0  # more are not read
    except (pa.ArrowException, OSError, ValueError):
        return 0


def _unpacked_bytes(metadata: Any) -> int:
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    values = sum(group.column(index).num_values for group in groups for index in range(group.num_columns))
    unpacked = sum(int(group.total_byte_size) for group in groups)
    return 3 * unpacked + _VALUE_BYTES * int(values)


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
    parsed_bytes=parsed_bytes,
)
