"""Rows that are JSON values, wherever they stand in a file; the columns are the keys of all objects."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from app.batch_predictions.row_files.base import Block, ColumnType, Item, blocks_of, wider
from app.datasets.errors import Code, DatasetError
from app.kit import strict_json

MAX_VALUE = 64 << 20  # bytes of a row
TICK_ROWS = 1 << 12
_SHOWN_ROW = {"row", "split", "input", "targets"}


class JsonValues(ABC):
    """Rows in the order of a file; one pass over it counts them."""

    def __init__(self) -> None:
        self._rows = 0
        types: dict[str, ColumnType | None] = {}
        for item in self._items(0):
            self._rows += 1
            if isinstance(item.value, dict):
                for name, value in item.value.items():
                    types[name] = wider(types.get(name), value)
        if not self._rows:
            raise DatasetError(Code.EMPTY_DATASET, "the file holds no rows")
        self._columns: dict[str, ColumnType] = {name: kind or "text" for name, kind in types.items()}

    @property
    def rows(self) -> int:
        """How many values there are."""
        return self._rows

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The keys of all objects."""
        return self._columns

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on."""
        yield from blocks_of(islice(self._items(start), start, None), start)

    @abstractmethod
    def _items(self, start: int) -> Iterator[Item]:
        """Yield all rows; those before `start` need not be parsed."""


def json_item(text: bytes, where: str) -> Item:
    """Return a row; the error of one that is no JSON begins with `where`."""
    try:
        value = strict_json.loads(text)
    except strict_json.StrictJsonError as error:
        return Item(None, f"{where}: {str(error).replace(' (line 1, ', ' (')}", len(text))
    return Item(_without_labels(value), None, len(text))


def _without_labels(row: Any) -> Any:
    """Return the input of a row as a dataset shows it, and any other row as it is."""
    return row["input"] if isinstance(row, dict) and set(row) == _SHOWN_ROW else row
