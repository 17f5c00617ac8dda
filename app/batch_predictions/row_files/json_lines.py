"""JSON Lines: an input on every line that is not blank; a line that is no JSON is a row with an error."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from app.batch_predictions.row_files.base import Block, ColumnType, Item, Opening, blocks_of, wider
from app.datasets.errors import Code, DatasetError
from app.kit import strict_json

MAX_LINE = 64 << 20
_TICK_ROWS = 1 << 12
_BOM = b"\xef\xbb\xbf"
_SHOWN_ROW = {"row", "split", "input", "targets"}


class JsonLines:
    """A file of JSON Lines; the columns are the keys of all its objects."""

    def __init__(self, path: Path, opening: Opening) -> None:
        self._path, self._opening = path, opening
        self._rows = 0
        types: dict[str, ColumnType | None] = {}
        for item in self._items():
            self._rows += 1
            if isinstance(item.value, dict):
                for name, value in item.value.items():
                    types[name] = wider(types.get(name), value)
        if not self._rows:
            raise DatasetError(Code.EMPTY_DATASET, "the file holds no rows")
        self._columns: dict[str, ColumnType] = {name: kind or "text" for name, kind in types.items()}

    @property
    def rows(self) -> int:
        """Lines that are not blank."""
        return self._rows

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The keys of all objects."""
        return self._columns

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on."""
        yield from blocks_of(islice(self._items(start), start, None), start)

    def _items(self, start: int = 0) -> Iterator[Item]:
        """Yield all rows; those before `start` are not parsed."""
        with self._path.open("rb") as file:
            row = 0
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
                text = line.removeprefix(_BOM) if number == 1 else line
                if not text.strip():
                    continue
                if row % _TICK_ROWS == 0:
                    self._opening.tick()
                if len(line) >= MAX_LINE:
                    message = f"line {number} is longer than {MAX_LINE} bytes; is this JSON Lines?"
                    raise DatasetError(Code.TOO_LARGE, message)
                yield _item(text, number) if row >= start else Item(None, None, 0)
                row += 1


def _item(line: bytes, number: int) -> Item:
    try:
        value = strict_json.loads(line)
    except strict_json.StrictJsonError as error:
        return Item(None, f"line {number}: {str(error).replace(' (line 1, ', ' (')}", len(line))
    return Item(_without_labels(value), None, len(line))


def _without_labels(row: Any) -> Any:
    """Return the input of a row as a dataset shows it, and any other row as it is."""
    return row["input"] if isinstance(row, dict) and set(row) == _SHOWN_ROW else row
