"""Parquet: every row is an object of the columns' values."""

import datetime as dt
import decimal
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from app.errors import TooLargeError
from app.ml.interfaces import Rows
from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.bodies.lazy_rows import MIN_BYTES, LazyRows, without_labels
from app.predictions.schemas import MAX_INPUTS

_ROWS_AT_ONCE = 64
_BUFFER_BYTES = 1 << 20
_MIN_UNPACKED_BYTES = 1 << 20
_VALUE_BYTES = 128  # an object, and its entry in that of its row


class ParquetRows(LazyRows):
    """The rows of a file, a few of which are unpacked at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._rows = int(self._opened().metadata.num_rows)

    def __len__(self) -> int:
        return self._rows

    def blocks(self, max_rows: int) -> Iterator[tuple[int, Sequence[Any] | Rows]]:
        """Yield blocks of objects.

        Raises:
            UnprocessableError: the file is damaged.
            TooLargeError: rows unpack to more than the file says.
        """
        import pyarrow as pa  # noqa: PLC0415 - half a second, for this form alone

        first = unpacked = 0
        is_small = len(self._content) < MIN_BYTES  # of which all rows are kept
        with _damage():
            file = self._opened()
            most = max(_MIN_UNPACKED_BYTES, _unpacked_bytes(file.metadata))
            for batch in file.iter_batches(batch_size=min(max_rows, _ROWS_AT_ONCE), use_threads=False):
                unpacked = batch.nbytes + (unpacked if is_small else 0)
                if unpacked > most:
                    raise _too_large(most)
                yield first, [without_labels(row) for row in rows_of(pa.Table.from_batches([batch]))]
                first += len(batch)

    def _opened(self) -> Any:
        from pyarrow import parquet  # noqa: PLC0415 - the same

        return parquet.ParquetFile(io.BytesIO(self._content), buffer_size=_BUFFER_BYTES, pre_buffer=False)


def read(content: bytes) -> Sequence[Any]:
    """Return the rows of a Parquet file.

    Raises:
        UnprocessableError: the file is damaged, or has too many rows.
        TooLargeError: it unpacks to more than it says.
    """
    with _damage():
        rows = ParquetRows(content)
    check_count(len(rows))
    return rows if len(content) >= MIN_BYTES else list(rows)


def _too_large(most: int) -> TooLargeError:
    msg = f"Long values that the file holds once stand in many rows, and take over {most} bytes: send fewer rows."
    return TooLargeError(msg, code="too_many_values")


@contextmanager
def _damage() -> Iterator[None]:
    """Raise UnprocessableError for what Arrow says of a file."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        msg = f"this is no Parquet file that can be read: {str(error)[:200]}"
        raise unreadable(msg) from None


def rows_of(table: Any) -> list[Any]:
    """Return the rows of an Arrow table as objects by column."""
    return [_plain(row) for row in _in_microseconds(table).to_pylist()]


def parsed_bytes(content: bytes) -> int:
    """Return the bytes of memory that the rows take at most, by what the file says of itself; 0 for a damaged one.

    Of a large file that is a group of rows unpacked, and the objects of some rows.
    """
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import parquet  # noqa: PLC0415 - the same

    try:
        metadata = parquet.ParquetFile(io.BytesIO(content)).metadata
    except (pa.ArrowException, OSError, ValueError):
        return 0
    if not 0 < metadata.num_rows <= MAX_INPUTS:  # more are not read
        return 0
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    values = sum(int(group.column(index).num_values) for group in groups for index in range(group.num_columns))
    if len(content) < MIN_BYTES:
        return 3 * _unpacked_bytes(metadata) + _VALUE_BYTES * values
    at_once = _VALUE_BYTES * values * min(_ROWS_AT_ONCE, metadata.num_rows) // metadata.num_rows
    largest: int = max(int(group.total_byte_size) for group in groups)
    return 2 * largest + int(at_once)


def _unpacked_bytes(metadata: Any) -> int:
    sizes = (int(metadata.row_group(index).total_byte_size) for index in range(metadata.num_row_groups))
    return sum(sizes)


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
