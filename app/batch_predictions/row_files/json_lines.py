"""JSON Lines: an input on every line that is not blank; a line that is no JSON is a row with an error."""

from collections.abc import Iterator
from pathlib import Path

from app.batch_predictions.row_files.base import Item, Opening
from app.batch_predictions.row_files.json_values import MAX_VALUE, TICK_ROWS, JsonValues, json_item
from app.datasets.errors import Code, DatasetError
from app.datasets.readers import BOM


class JsonLines(JsonValues):
    """A file of JSON Lines."""

    def __init__(self, path: Path, opening: Opening) -> None:
        self._path, self._opening = path, opening
        super().__init__()

    def _items(self, start: int) -> Iterator[Item]:
        """Yield all rows; those before `start` are not parsed."""
        with self._path.open("rb") as file:
            row = 0
            for number, line in enumerate(iter(lambda: file.readline(MAX_VALUE), b""), 1):
                text = line.removeprefix(BOM) if number == 1 else line
                if not text.strip():
                    continue
                if row % TICK_ROWS == TICK_ROWS - 1:
                    self._opening.tick()
                if len(line) >= MAX_VALUE:
                    message = f"line {number} is longer than {MAX_VALUE} bytes; is this JSON Lines?"
                    raise DatasetError(Code.TOO_LARGE, message)
                yield json_item(text, f"line {number}") if row >= start else Item(None, None, 0)
                row += 1
