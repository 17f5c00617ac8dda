"""Collects the rows of JSON Lines as a table, or as series with columns next to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from app.datasets.columns.names import is_called_labels
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, LabelsColumn, Loaded
from app.datasets.frames.spill import map_batches, write_batches
from app.datasets.readers.collectors import SeriesRows, take_rows
from app.datasets.readers.json_values import NO_VALUES, ColumnPart, JsonColumn, channel_names, is_labels, to_series
from app.datasets.readers.named_classes import number_labels
from app.datasets.readers.names import check_names
from app.datasets.readers.vectors import SAMPLED_ROWS, choose_kind, finish_series, series_as_columns

PACKED_BYTES = 32 << 20
CELL_BYTES = 64
MAX_ROW_ERRORS = 20
CHATS = (("role", "content"), ("from", "value"), ("speaker", "text"))


@dataclass(frozen=True, slots=True)
class TablePart:
    """The columns of `count` rows that follow each other; a file in the scratch folder holds their values."""

    path: Path
    count: int
    columns: dict[str, ColumnPart]
    numbered: set[str]


def _why_no_objects(name: str, items: list[Any]) -> str:
    """Say what a list of objects is, and how its row is written so that it can be read."""
    keys = {key for item in items if isinstance(item, dict) for key in item}
    shown = name[:100]
    if any(set(pair) <= keys for pair in CHATS):
        example = r'{"text": "user: hello\nassistant: hi"}'
        return f"{shown} holds chat messages, and a row of a text dataset is one text; write each as {example}"
    hint = "write its items as texts (labels) or numbers (a series)"
    return f'{shown} holds a list of objects; {hint}, or leave it out with columns={{"{shown}": "ignored"}}'


class JsonTable:
    """Collects the rows of a file as columns and series."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ignored = {name for name, role in context.options.columns.items() if role == "ignored"}
        self._columns: dict[str, JsonColumn] = {}
        self._series: SeriesRows | None = None
        self._series_name: str | None = None
        self._numbered: set[str] = set()  # columns of labels that are numbers
        self._errors: list[RowError] = []
        self._lists: bool | None = None
        self._count = 0
        self._unpacked_bytes = 0

    def add(self, row: int, value: Any, size: int) -> None:
        """Add the value of the next row, whose line has `size` bytes."""
        is_list = isinstance(value, list)
        if self._lists not in {None, is_list}:
            self._refuse(row, "some lines are lists and some are objects; make them alike")
        self._lists = is_list
        if is_list:
            self._add_series(row, value)
        else:
            self._add_object(row, value, size)
        self._count += 1
        limits, width = self._context.limits, max(1, len(self._columns))
        if self._are_too_many(self._count, width):
            message = f"there are more than {limits.rows} rows, {limits.columns} columns or {limits.cells} cells"
            raise DatasetError(Code.TOO_LARGE, f"{message}; upload less")
        self._unpacked_bytes += size + CELL_BYTES * width
        if self._unpacked_bytes > PACKED_BYTES:
            self._pack()

    @property
    def is_plain(self) -> bool:
        """Whether all rows so far are objects without a series and without errors, so that parts may follow."""
        return self._series is None and not self._errors

    def store(self) -> TablePart:
        """Return the rows, all of them plain, as a part of another process's table."""
        self._pack()
        values = [column.packed() for column in self._columns.values()]
        schema = pa.schema([(str(index), array.type) for index, array in enumerate(values)])
        path = write_batches([values], schema, self._context.scratch)
        columns = {name: column.part() for name, column in self._columns.items()}
        return TablePart(path, self._count, columns, self._numbered)

    def append(self, part: TablePart) -> bool:
        """Add the rows of a part; where they do not fit, or are beyond the limits, add nothing and return False."""
        count, known = self._count + part.count, self._columns
        if self._are_too_many(count, max(1, len(known.keys() | part.columns))):
            return False
        if not all(known[name].may_precede(part.columns[name]) for name in known.keys() & part.columns):
            return False
        self._pack()
        for name in part.columns:
            known.setdefault(name, JsonColumn(self._count))
        (arrays,) = map_batches(part.path)
        values = dict(zip(part.columns, arrays, strict=True))
        for name, column in known.items():
            column.append(part.columns.get(name, NO_VALUES), values.get(name, pa.nulls(part.count)))
        self._numbered |= part.numbered
        self._count = count
        return True

    def close(self) -> None:
        """Close the file of series, if there is one."""
        if self._series is not None:
            self._series.close()

    def _are_too_many(self, count: int, width: int) -> bool:
        limits = self._context.limits
        return count > limits.rows or count * width > limits.cells or width > limits.columns

    def _pack(self) -> None:
        for column in self._columns.values():
            column.pack(self._context.scratch)
        self._unpacked_bytes = 0

    def _add_object(self, row: int, value: dict[str, Any], size: int) -> None:
        if not self._ignored.isdisjoint(value):
            value = {key: None if key in self._ignored else item for key, item in value.items()}
        if self._series_name is None:
            lists = [name for name, item in value.items() if isinstance(item, list)]
            if lists:
                value = self._with_labels(value, lists)
                self._find_series(row, value, lists)
        name = self._series_name
        if name is not None:
            series = value.get(name)
            self._add_series(row, [] if series is None else series)
        if not value.keys() <= self._columns.keys():
            new = (key for key in value if key != name and key not in self._columns)
            self._columns |= {key: JsonColumn(row) for key in new}
        max_chars = self._context.limits.field_chars
        may_be_long = size > max_chars  # no text has more characters than its line has bytes
        for key, column in self._columns.items():
            item = value.get(key)
            if may_be_long and isinstance(item, str) and len(item) > max_chars:
                self._refuse(row, f"{key} has {len(item)} characters and at most {max_chars} are taken", Code.TOO_LARGE)
            problem = column.add(item)
            if problem is not None:
                self._add_error(row, key, problem)

    def _with_labels(self, value: dict[str, Any], lists: list[str]) -> dict[str, Any]:
        """Return the row with labels in place of the whole numbers of its only list, where this is called labels."""
        name = lists[0]
        if len(lists) > 1 or len(value) == 1 or self._context.options.modality == "series":
            return value
        if not is_called_labels(name) or not value[name] or any(type(item) is not int for item in value[name]):
            return value
        self._numbered.add(name)
        return value | {name: [str(item) for item in value[name]]}

    def _find_series(self, row: int, value: dict[str, Any], lists: list[str]) -> None:
        """Note which of the columns of lists holds series from this row on, if any; it may have been null before."""
        for name in lists:
            item, known = value[name], self._columns.get(name)
            if any(isinstance(part, dict) for part in item):
                self._refuse(row, _why_no_objects(name, item), Code.UNSUPPORTED_COLUMN)
            if not is_labels(item) and (known is None or known.blank):
                self._series_name = name
                self._columns.pop(name, None)
                self._open_series(row)
                return

    def _open_series(self, before: int) -> SeriesRows:
        """Return the collector of series; it begins with the `before` rows that had none."""
        if self._series is None:
            self._series = SeriesRows(self._context)
            for _ in range(before):
                self._series.add(np.empty((0, 1)))
        return self._series

    def _add_series(self, row: int, value: Any) -> None:
        try:
            series = to_series(value)
        except ValueError as error:
            where = "" if self._series_name is None else f" in {self._series_name}"
            self._refuse(row, f"the series{where} {error}", Code.BAD_SERIES)
        self._open_series(row).add(series)

    def _refuse(self, row: int, what: str, code: Code = Code.MIXED_TYPES) -> NoReturn:
        message = f"row {row}: {what}"
        raise DatasetError(code, message, [*self._errors, RowError(("file",), message, row)])

    def _add_error(self, row: int, name: str, problem: str) -> None:
        self._columns[name].add(None)
        self._errors.append(RowError((name,), f"row {row}: column {name[:100]} {problem}", row))
        if len(self._errors) >= MAX_ROW_ERRORS:
            self._raise_errors()

    def _raise_errors(self) -> NoReturn:
        raise DatasetError(Code.MIXED_TYPES, self._errors[0].msg, self._errors)

    def finish(self) -> Loaded:
        """Return the rows."""
        if self._errors:
            self._raise_errors()
        if self._series is None:
            columns = self._finish_columns()
            return Loaded("jsonl", "table", self._count, np.arange(self._count), None, columns)
        series, kept = self._series.finish()
        columns, name = self._finish_columns(), self._series_name
        if name is not None and series.shape[2] == 1:
            kind = choose_kind(name, self._series.lengths(), series[:SAMPLED_ROWS, :, 0], self._context)
            if kind == "table":
                table = Loaded("jsonl", "table", self._count, np.arange(self._count), None, columns)
                return series_as_columns(table, name, series, kept.positions, self._context)
        if name is None and self._context.options.modality is None:
            lines = "each line is a list, whose order is taken for that of time"
            option = 'an object {"x": [...]} a line, with modality="table", makes columns'
            self._context.notes.decide("modality", "series", lines, option=option)
        loaded = Loaded(
            format="jsonl",
            modality="series",
            rows_read=self._count,
            rows=kept.positions,
            inputs=series,
            columns=tuple(take_rows(column, kept.positions) for column in columns),
            corrupt=kept.empty,
            channels=channel_names(name, series.shape[2]),
            input_names=() if name is None else (name,),
        )
        return finish_series(loaded, self._context)

    def _finish_columns(self) -> tuple[Column, ...]:
        if not self._columns and self._series is not None:
            return ()
        self._pack()
        names = check_names(list(self._columns), self._context.limits)
        columns = [column.finish(name) for name, column in zip(names, self._columns.values(), strict=True)]
        return tuple(self._finish_labels(column) if column.name in self._numbered else column for column in columns)

    def _finish_labels(self, column: Column) -> Column:
        """Return labels that are numbers as they are, or as the places of the ones among zeros and ones."""
        if not isinstance(column, LabelsColumn):
            return column
        try:
            numbers = column.values.cast(pa.list_(pa.float64()))
        except pa.ArrowInvalid:  # some rows hold texts: then all are
            return column
        return number_labels(column.name, numbers, self._context)
