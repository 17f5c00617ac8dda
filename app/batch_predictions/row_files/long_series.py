"""Series in long form: a line for each step, with the id of its series. A row is all lines of one id, by their times.

The lines may stand in any order, so they are sorted in a database in the scratch folder, which takes the memory of its
cache; then a row is read as often as it is asked for. Series are numbered by their first lines, as those of datasets
are. A row holds a list for each channel, and the values of its first step in the other columns.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

from app.batch_predictions.row_files.base import Block, ColumnType, Item, Opening, RowFile, blocks_of
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.options import SeriesOptions
from app.ml.data.dates import from_iso
from app.ml.kinds.modalities.decoding import number_of

_CACHE_KIB = 16 << 10
_CELL_BYTES = 32
_LINES = "CREATE TABLE line (number INTEGER PRIMARY KEY, id TEXT, time REAL, file TEXT, cells TEXT)"
_TABLES = """
CREATE TABLE series (number INTEGER PRIMARY KEY, id TEXT, steps INTEGER, file TEXT);
INSERT INTO series (id, steps, file)
  SELECT line.id, counted.steps, line.file FROM line
  JOIN (SELECT MIN(number) AS first, COUNT(*) AS steps FROM line GROUP BY id) AS counted ON line.number = counted.first
  ORDER BY line.number;
CREATE INDEX by_id ON series (id);
CREATE TABLE step (place INTEGER PRIMARY KEY, series INTEGER, cells TEXT);
INSERT INTO step (series, cells)
  SELECT series.number, line.cells FROM line JOIN series ON series.id = line.id
  ORDER BY series.number, line.time, line.number;
DROP TABLE line;
"""


class LongSeries:
    """The series that the lines of a file make."""

    def __init__(self, file: RowFile, opening: Opening, options: SeriesOptions) -> None:
        self._opening, self._options = opening, options
        self._channels = opening.expected.inputs[: opening.expected.channels]
        _check_columns(file, options, self._channels)
        self._others = [name for name in file.columns if name not in self._channels]
        self._columns: dict[str, ColumnType] = {
            name: "text" if name in self._channels else kind for name, kind in file.columns.items()
        }
        self._path = opening.scratch / "series.db"
        self._path.unlink(missing_ok=True)
        with _connected(self._path) as database:
            database.execute(_LINES)
            database.executemany("INSERT INTO line VALUES (?, ?, ?, ?, ?)", self._lines(file))
            opening.tick()
            database.executescript(_TABLES)
            (self._rows, has_files) = database.execute("SELECT COUNT(*), COUNT(file) FROM series").fetchone()
        self._has_files = bool(has_files)
        self._decide()

    @property
    def rows(self) -> int:
        """How many series there are."""
        return int(self._rows)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Those of the file; channels hold lists."""
        return self._columns

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the series from number `start` on."""
        yield from blocks_of(self._items(start), start)

    def _items(self, start: int) -> Iterator[Item]:
        with _connected(self._path) as database:
            (place,) = database.execute("SELECT TOTAL(steps) FROM series WHERE number <= ?", (start,)).fetchone()
            about = database.execute("SELECT steps, file FROM series WHERE number > ? ORDER BY number", (start,))
            steps = database.execute("SELECT series, cells FROM step WHERE place > ? ORDER BY place", (int(place),))
            for (count, file), (_, of_series) in zip(about, groupby(steps, itemgetter(0)), strict=True):
                self._opening.tick()
                yield self._item(count, (cells for _, cells in of_series), file)

    def _item(self, count: int, lines: Iterator[str], file: str | None) -> Item:
        """Return a series as an object; of one that is too long only its first step is read."""
        longest = self._opening.expected.steps
        first = next(lines)
        texts = [first] if count > longest else [first, *lines]
        cells = [json.loads(text) for text in texts]
        others = dict(zip(self._others, cells[0][len(self._channels) :], strict=True))
        size = sum(map(len, texts)) + _CELL_BYTES * len(texts) * len(cells[0])
        name = file if self._has_files else None
        if count > longest:
            message = f"the series has {count} steps; the model takes at most {longest}"
            return Item(others, message, size, name)
        channels = {name: [step[place] for step in cells] for place, name in enumerate(self._channels)}
        return Item(others | channels, None, size, name)

    def _lines(self, file: RowFile) -> Iterator[tuple[int, str, float | None, str | None, str]]:
        """Yield the number, id, time, file and cells of every line."""
        names, time = [*self._channels, *self._others], self._options.time
        kind: str | None = None
        for block in file.blocks(0):
            self._opening.tick()
            for place, row in enumerate(block.inputs):
                number = block.first + place
                if place in block.errors or not isinstance(row, dict):
                    what = block.errors.get(place, "it is no object of columns and values")
                    _refuse(number, f"{what}; which series it belongs to is not known, so correct it", Code.BAD_ROW)
                at, of_kind = (None, None) if time is None else _time(row.get(time), number, time)
                if kind not in (None, of_kind):
                    _refuse(number, f"column {time} holds numbers and dates; write all alike", Code.BAD_TIME)
                kind = of_kind
                name = None if block.files is None else block.files[place]
                cells = json.dumps([row.get(name) for name in names], default=str)
                yield number, _id(row.get(self._options.id), number, self._options.id), at, name, cells

    def _decide(self) -> None:
        """Say what makes a series, and which columns change within one."""
        options, notes = self._options, self._opening.notes
        shown = json.dumps({"id": options.id} | ({} if options.time is None else {"time": options.time}))
        order = "in the order of the file" if options.time is None else f"ordered by {options.time}"
        reason = f"lines with the same {options.id} are one series, {order}"
        notes.decide("series", f"{self.rows} series", reason, option=f"series={shown}")
        for name in self._changing():
            reason = f"column {name} changes within a series"
            notes.decide(f"keep.{name}", "the value of the first step", reason, option=f'keep=["{options.id}"]')

    def _changing(self) -> list[str]:
        """Return the other columns whose values change within a series, but for the times."""
        keys, changing = {self._options.id, self._options.time}, list[str]()
        open_places = {p: name for p, name in enumerate(self._others, len(self._channels)) if name not in keys}
        if not open_places:
            return changing
        with _connected(self._path) as database:
            steps = database.execute("SELECT series, cells FROM step ORDER BY place")
            for _, of_series in groupby(steps, itemgetter(0)):
                first: list[Any] | None = None
                for _, text in of_series if open_places else ():
                    cells = json.loads(text)
                    first = first or cells
                    for place in [place for place in open_places if cells[place] != first[place]]:
                        changing.append(open_places.pop(place))
        return changing


def series_of(file: RowFile, opening: Opening) -> RowFile:
    """Return the series of a file in long form, and any other file as it is.

    Raises:
        DatasetError: the file has a line for each step, and which column says its series is not known; or of it.
    """
    expected, options = opening.expected, opening.expected.series
    if expected.modality != "series" or not file.columns:
        return file
    channels = expected.inputs[: expected.channels]
    rows = islice((row for block in file.blocks(0) for row in block.inputs if isinstance(row, dict)), 1)
    values = [row.get(name) for row in rows for name in channels if name in row]
    are_steps = bool(values) and all(_is_cell(value) for value in values)
    are_given = any(isinstance(value, list) for value in values)
    if options is not None and (expected.is_long or are_steps or options.id in file.columns):
        if not are_given:
            return LongSeries(file, opening, options)
        if expected.is_long:
            message = "series says how lines make series; the rows of this file are series already, so leave it out"
            raise DatasetError(Code.BAD_OPTION, message, [RowError(("series",), message)])
    if are_steps and set(channels) <= set(file.columns):
        message = "the file has a line for each step: say which column names the series and which orders its steps, as "
        message += 'in series={"id": "patient", "time": "t"}'
        raise DatasetError(Code.BAD_SERIES, message, [RowError(("series",), message)])
    return file


def _is_cell(value: Any) -> bool:
    """Return whether a value is that of one step."""
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and "[" not in value)


def _check_columns(file: RowFile, options: SeriesOptions, channels: Iterable[str]) -> None:
    """Refuse a file without the columns that long form needs."""
    wanted = [("series.id", options.id), ("series.time", options.time), *(("the model", name) for name in channels)]
    for who, name in wanted:
        if name is not None and name not in file.columns:
            message = f"{who} names the column {name[:100]!r}, which the file does not have; its columns are "
            message += ", ".join(repr(known[:40]) for known in islice(file.columns, 10))
            raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError((name,), message)])


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a scratch database: nothing of it outlives a crash, and it takes the memory of its cache."""
    folder = str(path.parent).replace("'", "''")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            f"cache_size=-{_CACHE_KIB}",
            "temp_store=FILE",
            f"temp_store_directory='{folder}'",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        yield connection


def _id(value: Any, number: int, column: str) -> str:
    """Return what is equal of equal ids: 7, 7.0 and " 7" are one. Raises DatasetError for a missing one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value.strip() if isinstance(value, str) else json.dumps(value, default=str)
    if value is None or not text:
        _refuse(
            number, f"column {column} says which series a line belongs to, and it has none; fill it", Code.BAD_SERIES
        )
    return text


def _time(value: Any, number: int, column: str) -> tuple[float, str]:
    """Return a time, and whether it is a number or a date. Raises DatasetError."""
    amount = number_of(value) if isinstance(value, str) else value
    if isinstance(amount, int | float) and not isinstance(amount, bool) and math.isfinite(amount):
        return float(amount), "number"
    days = from_iso(value) if isinstance(value, str) else None
    if days is None:
        shown = "nothing" if value is None or not str(value).strip() else repr(str(value)[:40])
        what = f"column {column} orders the steps of a series, and holds {shown}: write numbers, or dates as ISO 8601"
        _refuse(number, what, Code.BAD_TIME)
    return days, "date"


def _refuse(number: int, what: str, code: Code) -> NoReturn:
    message = f"row {number}: {what}"
    raise DatasetError(code, message, [RowError(("file",), message, number)])
