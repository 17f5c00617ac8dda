"""Reads Parquet: plain columns alone, checked by the metadata first and read in small batches.

The sizes that a Parquet file declares do not bound what it unpacks to (a run length may repeat one value millions of
times). So rows times columns are bounded instead, and text stays dictionary-encoded until its bytes are counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, DateColumn, Floats, LabelsColumn, Loaded, NumberColumn, TextColumn
from app.datasets.limits import Limits
from app.datasets.readers.names import check_names
from app.datasets.readers.spill import spill

BATCH_CELLS = 1 << 20
MAX_THRIFT_STRING = 16 << 20
MAX_THRIFT_CONTAINER = 1_000_000
INDEX_PREFIX = "__index_level_"
UNITS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def read_parquet(path: Path, context: Context) -> Loaded:
    """Read a table of numbers, booleans, dates, text and lists of labels.

    Raises:
        DatasetError: bad_parquet, encrypted, unsupported_column, duplicate_columns, too_large or empty_dataset.
    """
    _check_footer(path)
    with _arrow_errors(), _open(path, []) as file:
        ignored = {name for name, role in context.options.columns.items() if role == "ignored"}
        names = _check_schema(file, ignored, context.limits)
        fields = {name: field for name, field in zip(names, file.schema_arrow, strict=True) if name not in ignored}
        text = [field.name for field in fields.values() if _is_text(field.type)]
    with _arrow_errors(), _open(path, text) as file:
        columns, count = _read(file, fields, context)
    columns += tuple(_ignored_column(name, count) for name in names if name in ignored)
    kept = tuple(column for column in columns if not column.name.startswith(INDEX_PREFIX))
    if len(kept) < len(columns):
        context.notes.notice("the index that pandas stored was left out")
    return Loaded("parquet", "table", count, np.arange(count), None, kept)


def _open(path: Path, text: list[str]) -> Any:
    """Open the file; the columns of `text` stay dictionary-encoded."""
    return pq.ParquetFile(
        path,
        read_dictionary=text,
        pre_buffer=False,
        thrift_string_size_limit=MAX_THRIFT_STRING,
        thrift_container_size_limit=MAX_THRIFT_CONTAINER,
    )


def _check_footer(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, file.seek(0, 2) - 4))
        tail = file.read()
    if b"PARE" in {head, tail}:
        raise DatasetError(Code.ENCRYPTED, "the Parquet file is encrypted; write it without encryption")
    if tail != b"PAR1":
        raise DatasetError(Code.BAD_PARQUET, "the Parquet file is cut short: its footer is missing; upload it again")


@contextmanager
def _arrow_errors() -> Iterator[None]:
    """Replace Arrow's errors of damaged files, whose messages may hold parts of the file."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        message = "the Parquet file is damaged or of a kind that is not read; write it again"
        raise DatasetError(Code.BAD_PARQUET, message) from error


def _check_schema(file: Any, ignored: set[str], limits: Limits) -> list[str]:
    schema, metadata = file.schema_arrow, file.metadata
    names = check_names(schema.names, limits)
    unsupported = [
        RowError(
            (name,),
            f"column {name} is of type {str(field.type)[:60]}; use numbers, booleans, dates, text or lists of text, or "
            f'leave it out with columns={{"{name}": "ignored"}}',
        )
        for name, field in zip(names, schema, strict=True)
        if not (name in ignored or any(is_kind(field.type) for is_kind in (_is_text, _is_number, _is_date, _is_labels)))
    ]
    if unsupported:
        raise DatasetError(Code.UNSUPPORTED_COLUMN, unsupported[0].msg, unsupported[:20])
    if not metadata.num_rows:
        raise DatasetError(Code.EMPTY_DATASET, "the table has no rows; add rows")
    if metadata.num_rows > limits.rows or metadata.num_rows * len(names) > limits.cells:
        message = f"the table has {metadata.num_rows} rows of {len(names)} columns; at most {limits.rows} rows"
        raise DatasetError(Code.TOO_LARGE, f"{message} and {limits.cells} cells are taken")
    return names


def _is_text(kind: Any) -> bool:
    if pt.is_dictionary(kind):
        kind = kind.value_type
    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _is_labels(kind: Any) -> bool:
    return bool(pt.is_list(kind) and _is_text(kind.value_type))


def _is_number(kind: Any) -> bool:
    return bool(pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind) or pt.is_null(kind))


def _is_date(kind: Any) -> bool:
    return bool(pt.is_date(kind) or pt.is_timestamp(kind))


def _read(file: Any, fields: dict[str, Any], context: Context) -> tuple[tuple[Column, ...], int]:
    """Return the columns of `fields`, {name as stored: field of the file}, and the number of rows."""
    chunks: list[list[Any]] = [[] for _ in fields]
    chosen = [field.name for field in fields.values()]
    step = max(1, BATCH_CELLS // max(1, len(chosen)))
    total = file.metadata.num_rows
    count = text = 0
    for batch in file.iter_batches(batch_size=step, columns=chosen, use_threads=False):
        batch.validate(full=True)
        count += len(batch)
        for column, values in zip(chunks, map(batch.column, chosen), strict=True):
            if _is_text(values.type) or _is_labels(values.type):
                text += _text_bytes(values.flatten() if _is_labels(values.type) else values, context.limits)
                if text > context.limits.text_bytes:
                    message = f"the table unpacks to more than {context.limits.text_bytes} bytes of text"
                    raise DatasetError(Code.TOO_LARGE, message)
                plain = pa.list_(pa.string()) if _is_labels(values.type) else pa.string()
                column.append(spill(values.cast(plain), context.scratch))
            elif _is_date(values.type):
                column.append(_days(values))
            else:
                column.append(_floats(values))
        context.progress(0.5 * min(1.0, count / total), f"{count} rows read")
    if count != total:
        raise DatasetError(Code.BAD_PARQUET, f"the file promises {total} rows and holds {count}; write it again")
    types = [field.type for field in fields.values()]
    return tuple(map(_column, fields, chunks, types)), count


def _ignored_column(name: str, count: int) -> Column:
    """Return a column of missing values in place of one that is not read; its role needs its name."""
    return NumberColumn(name, np.broadcast_to(np.float64(np.nan), (count,)))


def _text_bytes(values: Any, limits: Limits) -> int:
    """Return the bytes of a dictionary-encoded column of text once it is decoded."""
    if not pt.is_dictionary(values.type):
        values = values.dictionary_encode()
    lengths = pc.binary_length(values.dictionary)
    if (pc.max(lengths).as_py() or 0) > limits.field_chars:
        raise DatasetError(Code.TOO_LARGE, f"a text is longer than {limits.field_chars} bytes; shorten it")
    return int(pc.sum(pc.take(lengths.cast(pa.int64()), values.indices)).as_py() or 0)


def _floats(values: Any) -> Floats:
    if pt.is_boolean(values.type):
        values = values.cast(pa.uint8())
    numbers = values.cast(pa.float64(), safe=False)
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _days(values: Any) -> Floats:
    """Return dates as days since 1970-01-01, (n,); times with a zone are stored as UTC."""
    if pt.is_date32(values.type):
        return _floats(values.cast(pa.int32()))
    unit = values.type.unit if pt.is_timestamp(values.type) else "ms"
    units = values.cast(pa.int64())
    whole, rest = np.divmod(pc.fill_null(units, 0).to_numpy(zero_copy_only=False), UNITS_PER_DAY[unit])
    days: Floats = whole + rest / UNITS_PER_DAY[unit]  # apart: nanoseconds since 1970 are more than a float64 holds
    days[units.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return days


def _column(name: str, chunks: list[Any], kind: Any) -> Column:
    if _is_text(kind):
        return TextColumn(name, pa.chunked_array(chunks, pa.string()), typed=True)
    if _is_labels(kind):
        return LabelsColumn(name, pa.chunked_array(chunks, pa.list_(pa.string())))
    if _is_date(kind):
        return DateColumn(name, np.concatenate(chunks))
    whole, boolean = bool(pt.is_integer(kind)), bool(pt.is_boolean(kind))
    return NumberColumn(name, np.concatenate(chunks), whole=whole or boolean, boolean=boolean)
