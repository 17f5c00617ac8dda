"""The results of all parts as one Parquet file and one CSV file, a group of rows in memory at a time.

Spreadsheets take a cell that begins with = + - @, a tab or a line break for a formula. In the CSV such a text gets an
apostrophe before it (OWASP, "CSV Injection"), in the header as well; numbers, also those that are texts of the file,
stay as they are. The Parquet file holds every text unchanged.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.jobs.kinds.batch_prediction import RESULTS_CSV, RESULTS_PARQUET

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and full-width forms
_NUMBER = re.compile(r"[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d+)?%?", re.ASCII)  # of either sign before its fractions


def write_results(parts: Iterable[Path], schema: Any, folder: Path, on_group: Callable[[int], None]) -> None:
    """Write both files of parts in the order of their rows; `on_group` hears of how many rows are written.

    It may raise to stop.
    """
    rows = 0
    with (
        pq.ParquetWriter(folder / RESULTS_PARQUET, schema) as parquet,
        (folder / RESULTS_CSV).open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_header(schema))
        for group in _groups(parts):
            parquet.write_table(group)
            table.writerows(_rows(group))
            rows += len(group)
            on_group(rows)


def safe_text(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    if text.startswith(_DANGEROUS) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _groups(parts: Iterable[Path]) -> Iterator[Any]:
    for part in parts:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)


def _header(schema: Any) -> list[str]:
    """Return the names of the CSV's columns: an embedding has one for each feature."""
    names = []
    for field in schema:
        if pa.types.is_fixed_size_list(field.type):
            names += [f"{field.name}.{feature}" for feature in range(field.type.list_size)]
        else:
            names.append(safe_text(field.name))
    return names


def _rows(table: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as cells of a CSV."""
    columns: list[Iterable[Any]] = []
    for field, column in zip(table.schema, table.columns, strict=True):
        values = column.to_pylist()
        if pa.types.is_fixed_size_list(field.type):
            width = field.type.list_size
            columns += zip(*(value or (None,) * width for value in values), strict=True)
        elif pa.types.is_list(field.type):
            columns.append([None if value is None else safe_text("; ".join(map(str, value))) for value in values])
        elif pa.types.is_string(field.type):
            columns.append([None if value is None else safe_text(value) for value in values])
        elif pa.types.is_boolean(field.type):
            columns.append([None if value is None else str(value).lower() for value in values])
        else:
            columns.append(values)
    return zip(*columns, strict=True)
