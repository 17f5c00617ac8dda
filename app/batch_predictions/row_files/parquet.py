"""Parquet: rows as predictions take them, a batch at a time, each of which unpacks to bounded memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from app.batch_predictions.row_files.base import MAX_BLOCK_ROWS, MAX_PICTURES, Block, ColumnType, Opening
from app.datasets.errors import Code, DatasetError
from app.datasets.limits import Limits
from app.datasets.readers.names import check_names
from app.datasets.readers.parquet import (
    BATCH_CELLS,
    INDEX_PREFIX,
    MAX_THRIFT_CONTAINER,
    MAX_THRIFT_STRING,
    arrow_errors,
    check_footer,
    most_values,
)
from app.predictions.bodies.parquet import rows_of

MAX_TEXT_BYTES = 256 << 20  # of one batch
_BUFFER_BYTES = 1 << 20


class Parquet:
    """A Parquet file; a row is an object by column."""

    def __init__(self, path: Path, opening: Opening) -> None:
        self._path, self._opening = path, opening
        check_footer(path)
        with arrow_errors():
            file = self._open([])
            schema, self._rows = file.schema_arrow, file.metadata.num_rows
            values_per_row = max(1, len(schema), most_values(file.metadata) // max(1, self._rows))
        if not self._rows:
            raise DatasetError(Code.EMPTY_DATASET, "the table has no rows")
        names = check_names(schema.names, Limits())
        self._names = dict(zip(schema.names, names, strict=True))
        self._columns = {
            name: _type(field.type)
            for name, field in zip(names, schema, strict=True)
            if not name.startswith(INDEX_PREFIX)
        }
        self._texts = [field.name for field in schema if pt.is_string(field.type) or pt.is_large_string(field.type)]
        pictures = any(pt.is_struct(field.type) or pt.is_binary(field.type) for field in schema)
        self._step = MAX_PICTURES if pictures else max(1, min(MAX_BLOCK_ROWS, BATCH_CELLS // values_per_row))

    @property
    def rows(self) -> int:
        """As the file's footer says."""
        return int(self._rows)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Those of the schema, without the index that pandas stores."""
        return self._columns

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on; groups of rows before it are not read."""
        first = 0
        with arrow_errors():
            file = self._open(self._texts)
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if first + count > start:
                    yield from self._of_group(file, group, first, start)
                first += count
        if first != self._rows:
            raise DatasetError(Code.BAD_PARQUET, f"the file promises {self._rows} rows and holds {first}")

    def _of_group(self, file: Any, group: int, first: int, start: int) -> Iterator[Block]:
        """Yield the blocks of a group of rows that hold row `start` or later ones."""
        columns = [name for name, clean in self._names.items() if clean in self._columns]
        batches = file.iter_batches(batch_size=self._step, row_groups=[group], columns=columns, use_threads=False)
        for batch in batches:
            self._opening.tick()
            if first + len(batch) > start:
                batch.validate(full=True)
                _check_size(batch)
                rows = rows_of(
                    pa.Table.from_batches([batch]).rename_columns([self._names[name] for name in batch.schema.names])
                )
                skipped = max(0, start - first)
                yield Block(first + skipped, rows[skipped:])
            first += len(batch)

    def _open(self, texts: list[str]) -> Any:
        return pq.ParquetFile(
            self._path,
            read_dictionary=texts,
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
            thrift_string_size_limit=MAX_THRIFT_STRING,
            thrift_container_size_limit=MAX_THRIFT_CONTAINER,
        )


def _check_size(batch: Any) -> None:
    """Refuse a batch whose texts, repeated as its dictionaries say, take too much memory."""
    size = 0
    for column in batch.columns:
        if pt.is_dictionary(column.type):
            lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
            size += pc.sum(lengths).as_py() or 0
    if size > MAX_TEXT_BYTES:
        message = f"{len(batch)} rows unpack to more than {MAX_TEXT_BYTES} bytes of text; shorten them"
        raise DatasetError(Code.TOO_LARGE, message)


def _type(kind: Any) -> ColumnType:
    if pt.is_boolean(kind):
        return "truth"
    if pt.is_integer(kind) and not pt.is_uint64(kind):
        return "whole"
    return "number" if pt.is_floating(kind) or pt.is_decimal(kind) else "text"
