"""Files of rows to answer, as their readers are tested."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from app.batch_predictions.row_files import Block, Expected, Opening, RowFile, open_rows
from app.datasets.report import Notes

TABLE = Expected("table", inputs=("age", "city"), required=("age",), left_out=("id", "churn"))
NUMBERED = Expected("table", inputs=("x0", "x1"), required=("x0", "x1"))
TEXT = Expected("text", inputs=("review",), left_out=("id",))
IMAGE = Expected("image", inputs=("image", "bytes"))
SERIES = Expected("series", inputs=("load",))


class Reader:
    """Writes a file and opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, Notes()

    def open(self, content: bytes | str, expected: Expected = TABLE, name: str = "rows") -> RowFile:
        path = self.folder / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return open_rows(path, Opening(scratch, expected, self.notes, filename=name))

    def rows(self, content: bytes | str, expected: Expected = TABLE, name: str = "rows") -> list[Any]:
        """All inputs, an error as a text after an exclamation mark; read from any block on they are equal."""
        file = self.open(content, expected, name)
        blocks = list(file.blocks(0))
        for start in [block.first for block in blocks[1:]]:
            again = [inputs_of(block) for block in file.blocks(start)]
            assert str(again) == str([inputs_of(block) for block in blocks if block.first >= start])
        rows = [row for block in blocks for row in inputs_of(block)]
        assert len(rows) == file.rows
        assert [block.first for block in blocks] == list(np.cumsum([0, *(len(block) for block in blocks)])[:-1])
        return rows

    def codes(self) -> list[str]:
        return [warning.code for warning in self.notes.warnings]


def inputs_of(block: Block) -> list[Any]:
    return [f"!{block.errors[place]}" if place in block.errors else row for place, row in enumerate(block.inputs)]


def packed(**members: bytes | str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()
