"""Plain text: each line that is not blank is a row, or each paragraph where the training file was cut into these."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from app.batch_predictions.row_files.base import Block, ColumnType, Item, Opening, blocks_of
from app.datasets.errors import Code, DatasetError
from app.datasets.readers.encodings import not_utf8

MAX_CHARACTERS = 1 << 20
_TICK_ROWS = 1 << 12


class PlainText:
    """A text file in UTF-8."""

    def __init__(self, path: Path, opening: Opening) -> None:
        self._path, self._opening = path, opening
        try:
            self._rows = sum(1 for _ in self._items())
        except UnicodeDecodeError as error:
            raise not_utf8(path, header=0) from error
        if not self._rows:
            raise DatasetError(Code.EMPTY_DATASET, "the file holds no rows")

    @property
    def rows(self) -> int:
        """Lines or paragraphs."""
        return self._rows

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """None."""
        return {}

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on."""
        yield from blocks_of(islice(self._items(), start, None), start)

    def _items(self) -> Iterator[Item]:
        with self._path.open(encoding="utf-8-sig") as file:
            lines = iter(lambda: file.readline(MAX_CHARACTERS + 2), "")
            pieces = (
                _paragraphs(lines) if self._opening.expected.paragraphs else (line for line in lines if line.strip())
            )
            for row, piece in enumerate(pieces):
                if row % _TICK_ROWS == 0:
                    self._opening.tick()
                text = piece.removesuffix("\n")
                if len(text) > MAX_CHARACTERS:
                    message = f"row {row} has more than {MAX_CHARACTERS} characters; cut it"
                    raise DatasetError(Code.TOO_LARGE, message)
                yield Item(text, None, len(text))


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    """Yield the runs of lines between blank ones."""
    paragraph: list[str] = []
    size = 0
    for line in lines:
        if line.strip():
            paragraph.append(line)
            size += len(line)
        if paragraph and (not line.strip() or size > MAX_CHARACTERS + 1):
            yield "".join(paragraph)
            paragraph, size = [], 0
    if paragraph:
        yield "".join(paragraph)
