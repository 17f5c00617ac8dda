"""Reads Parquet: columns of numbers, dates, text, lists and pictures, checked by the metadata and read in batches.

The sizes that a Parquet file declares do not bound what it unpacks to (a run length may repeat one value millions of
times). So rows times columns are bounded instead, and text stays dictionary-encoded until its bytes are counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, ColumnType, DateColumn, Floats, LabelsColumn, Loaded, NumberColumn, TextColumn
from app.datasets.frames.spill import spill
from app.datasets.limits import Limits
from app.datasets.readers.arrow_types import (
    Names,
    class_names,
    holds_number_labels,
    is_date,
    is_labels,
    is_number,
    is_picture,
    is_span,
    is_text,
    is_vector,
    is_whole,
    why_unsupported,
)
from app.datasets.readers.named_classes import labels_of_numbers, name_classes, number_labels
from app.datasets.readers.names import check_names
from app.datasets.readers.pictures import with_pictures
from app.datasets.readers.vectors import with_vectors

BATCH_CELLS = 1 << 20
PICTURE_ROWS = 32  # a batch of images in memory
MAX_THRIFT_STRING = 16 << 20
MAX_THRIFT_CONTAINER = 1_000_000
INDEX_PREFIX = "__index_level_"
UNITS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def read_parquet(path: Path, context: Context) -> Loaded:
    """Read a table of numbers, booleans, dates, text and lists of labels; or images, or series.

    Raises:
        DatasetError: bad_parquet, encrypted, unsupported_column, duplicate_columns, too_large, empty_dataset, or what
            is wrong with images or series.
    """
    check_footer(path)
    with arrow_errors(), _open(path, []) as file:
        ignored = {name for name, role in context.options.columns.items() if role == "ignored"}
        names = _check_schema(file, ignored, context.limits)
        fields = {name: field for name, field in zip(names, file.schema_arrow, strict=True) if name not in ignored}
        text = [field.name for field in fields.values() if is_text(field.type)]
        classes = class_names(file.schema_arrow)
    with arrow_errors(), _open(path, text) as file:
        chunks, count = _read(file, fields, context)
    return _load(fields, chunks, count, names, classes, context)


def _load(
    fields: dict[str, Any],
    chunks: dict[str, list[Any]],
    count: int,
    names: list[str],
    classes: dict[str, Names],
    context: Context,
) -> Loaded:
    """Return the rows of the columns that were read, {name: arrays}; `names` are those of all columns."""
    columns: list[Column] = []
    vectors: dict[str, Any] = {}
    types: dict[str, ColumnType] = {}
    for name, field in fields.items():
        if name.startswith(INDEX_PREFIX):
            context.notes.notice("the index that pandas stored was left out")
        elif is_picture(field.type):
            continue
        elif holds_number_labels(name, fields) and not classes.get(field.name) and context.options.modality != "series":
            columns.append(number_labels(name, pa.chunked_array(chunks[name]), context))
        elif is_vector(field.type) and not (classes.get(field.name) and is_number(field.type.value_type)):
            vectors[name] = pa.chunked_array(chunks[name])
        else:
            names_of_classes = classes.get(field.name, ())
            column = _column(name, chunks[name], field.type, names_of_classes, context)
            columns.append(column)
            if names_of_classes and isinstance(column, TextColumn):
                types[name] = "category"
    columns += [_ignored_column(name, count) for name in names if name not in fields]
    loaded = Loaded("parquet", "table", count, np.arange(count), None, tuple(columns), types=types)
    pictures = {name: chunks[name] for name, field in fields.items() if is_picture(field.type)}
    if pictures:
        return with_pictures(loaded, pictures, list(vectors), context)
    return with_vectors(loaded, vectors, context)


def _open(path: Path, text: list[str]) -> Any:
    """Open the file; the columns of `text` stay dictionary-encoded."""
    return pq.ParquetFile(
        path,
        read_dictionary=text,
        pre_buffer=False,
        thrift_string_size_limit=MAX_THRIFT_STRING,
        thrift_container_size_limit=MAX_THRIFT_CONTAINER,
    )


def check_footer(path: Path) -> None:
    """Refuse a file that is encrypted or cut short."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, file.seek(0, 2) - 4))
        tail = file.read()
    if b"PARE" in {head, tail}:
        raise DatasetError(Code.ENCRYPTED, "the Parquet file is encrypted; write it without encryption")
    if tail != b"PAR1":
        raise DatasetError(Code.BAD_PARQUET, "the Parquet file is cut short: its footer is missing; upload it again")


@contextmanager
def arrow_errors() -> Iterator[None]:
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
            f"column {name} is of type {str(field.type)[:60]}; {remedy}, or "
            f'leave it out with columns={{"{name}": "ignored"}}',
        )
        for name, field in zip(names, schema, strict=True)
        if name not in ignored and (remedy := why_unsupported(field.type)) is not None
    ]
    if unsupported:
        raise DatasetError(Code.UNSUPPORTED_COLUMN, unsupported[0].msg, unsupported[:20])
    if not metadata.num_rows:
        raise DatasetError(Code.EMPTY_DATASET, "the table has no rows; add rows")
    if metadata.num_rows > limits.rows or metadata.num_rows * len(names) > limits.cells:
        message = f"the table has {metadata.num_rows} rows of {len(names)} columns; at most {limits.rows} rows"
        raise DatasetError(Code.TOO_LARGE, f"{message} and {limits.cells} cells are taken")
    _check_leaves(metadata, limits)
    return names


def _check_leaves(metadata: Any, limits: Limits) -> None:
    """Refuse lists that hold too many values together."""
    leaves = most_values(metadata)
    if leaves > limits.cells:
        message = f"the table holds {leaves} values in one column of lists; at most {limits.cells} are taken"
        raise DatasetError(Code.TOO_LARGE, message)


def most_values(metadata: Any) -> int:
    """Return the values of the column that has most, those of lists counted one by one."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    counts = [sum(group.column(k).num_values for group in groups) for k in range(metadata.num_columns)]
    return int(max(counts, default=0))


def _read(file: Any, fields: dict[str, Any], context: Context) -> tuple[dict[str, list[Any]], int]:
    """Return the arrays of `fields`, {name as stored: field of the file}, and the number of rows."""
    chunks: dict[str, list[Any]] = {name: [] for name in fields}
    chosen = [field.name for field in fields.values()]
    total = file.metadata.num_rows
    values_per_row = max(1, len(chosen), most_values(file.metadata) // total)
    step = max(1, BATCH_CELLS // values_per_row)
    if any(is_picture(field.type) for field in fields.values()):
        step = PICTURE_ROWS
    count = 0
    sizes = _Sizes(context.limits)
    for batch in file.iter_batches(batch_size=step, columns=chosen, use_threads=False):
        batch.validate(full=True)
        count += len(batch)
        for column, values in zip(chunks.values(), map(batch.column, chosen), strict=True):
            column.append(_converted(values, sizes, context))
        context.progress(0.5 * min(1.0, count / total), f"{count} rows read")
    if count != total:
        raise DatasetError(Code.BAD_PARQUET, f"the file promises {total} rows and holds {count}; write it again")
    return chunks, count


@dataclass(slots=True)
class _Sizes:
    """Bytes of text and of pictures so far."""

    limits: Limits
    text: int = 0
    pictures: int = 0

    def add_text(self, count: int) -> None:
        self.text += count
        if self.text > self.limits.text_bytes:
            message = f"the table unpacks to more than {self.limits.text_bytes} bytes of text"
            raise DatasetError(Code.TOO_LARGE, message)

    def add_pictures(self, values: Any) -> None:
        self.pictures += int(pc.sum(pc.binary_length(values).cast(pa.int64())).as_py() or 0)
        if self.pictures > self.limits.unpacked_bytes:
            message = f"the images take more than {self.limits.unpacked_bytes} bytes together; upload fewer"
            raise DatasetError(Code.TOO_LARGE, message)


def _converted(values: Any, sizes: _Sizes, context: Context) -> Any:
    """Return the values of a batch: floats (n,) of numbers and dates, Arrow arrays of all else."""
    kind = values.type
    if is_text(kind) or is_labels(kind):
        sizes.add_text(_text_bytes(values.flatten() if is_labels(kind) else values, sizes.limits))
        return spill(values.cast(pa.list_(pa.string()) if is_labels(kind) else pa.string()), context.scratch)
    if is_picture(kind):
        pictures = (pc.struct_field(values, "bytes") if pt.is_struct(kind) else values).cast(pa.large_binary())
        sizes.add_pictures(pictures)
        return spill(pictures, context.scratch)
    if is_vector(kind):
        inner = kind.value_type
        plain = pa.float64() if is_number(inner) else pa.large_list(pa.float64())
        return spill(values.cast(pa.large_list(plain), safe=False), context.scratch)
    if is_span(kind):
        return _seconds(values)
    return _days(values) if is_date(kind) else _floats(values)


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
    if pt.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pt.is_boolean(values.type):
        values = values.cast(pa.uint8())
    numbers = values.cast(pa.float64(), safe=False)
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _seconds(values: Any) -> Floats:
    """Return times of a day, or spans of time, in seconds, (n,)."""
    width = pa.int32() if pt.is_time32(values.type) else pa.int64()
    return _floats(values.cast(width)) / (UNITS_PER_DAY[values.type.unit] // 86_400)


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


def _column(name: str, chunks: list[Any], kind: Any, classes: Names, context: Context) -> Column:
    if is_text(kind):
        return TextColumn(name, pa.chunked_array(chunks, pa.string()), typed=True)
    if is_labels(kind):
        return LabelsColumn(name, pa.chunked_array(chunks, pa.list_(pa.string())))
    if is_vector(kind):
        return labels_of_numbers(name, pa.chunked_array(chunks), classes)
    if is_date(kind):
        return DateColumn(name, np.concatenate(chunks))
    if is_span(kind):
        reason = "seconds since midnight" if pt.is_time(kind) else "seconds"
        context.notes.decide(f"types.{name}", "number", reason, option=f'columns={{"{name}": "ignored"}}')
    numbers = NumberColumn(name, np.concatenate(chunks), whole=is_whole(kind), boolean=bool(pt.is_boolean(kind)))
    return name_classes(numbers, classes, context) if classes else numbers
