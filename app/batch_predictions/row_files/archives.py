"""Zips: of pictures or of .txt files, each a row with the name of its file; or of one file of rows.

Rows are numbered by the sorted names, as those of datasets are. Folders say nothing here: labels are not read.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from app.batch_predictions.row_files.base import (
    LIMITS,
    MAX_BLOCK_ROWS,
    MAX_PICTURES,
    Block,
    ColumnType,
    Item,
    Opening,
    blocks_of,
)
from app.datasets.errors import DatasetError
from app.datasets.readers.archive import open_archive, read_chunks, read_member
from app.datasets.readers.contents import Contents, name_some, sort_members
from app.ml.spec import WarningCode


class Members:
    """The pictures, or the texts, of a zip."""

    def __init__(self, path: Path, opening: Opening, names: Sequence[str], *, pictures: bool) -> None:
        self._path, self._opening, self._names, self._pictures = path, opening, names, pictures

    @property
    def rows(self) -> int:
        """Files."""
        return len(self._names)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """None; the names of the files are not columns of theirs."""
        return {}

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on."""
        yield from blocks_of(self._items(start), start, MAX_PICTURES if self._pictures else MAX_BLOCK_ROWS)

    def _items(self, start: int) -> Iterator[Item]:
        with open_archive(self._path, LIMITS, self._opening.expected.name_encoding) as (archive, infos):
            members = {info.filename: info for info in infos}
            for name in self._names[start:]:
                self._opening.tick()
                yield self._item(archive, members[name])

    def _item(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Item:
        try:
            content = read_member(archive, member, LIMITS.member_bytes)
        except DatasetError as error:
            return Item(None, error.message, 0, member.filename)
        if self._pictures:
            return Item(content, None, len(content), member.filename)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            message = f"{member.filename!r} is not UTF-8 text; save it in the encoding UTF-8"
            return Item(None, message, len(content), member.filename)
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
        return Item(text, None, len(content), member.filename)


def open_members(path: Path, opening: Opening, *, pictures: bool) -> Members:
    """Open a zip of pictures or of texts; other files in it are named in a warning."""
    with open_archive(path, LIMITS, opening.expected.name_encoding, opening.notes) as (_, infos):
        contents = sort_members(infos)
    members = contents.images if pictures else contents.texts
    warn_of_others(contents, members, opening)
    return Members(path, opening, [member.filename for member in members], pictures=pictures)


def unpack_only(path: Path, opening: Opening, name: str) -> Path:
    """Unpack the only file of rows into the scratch folder."""
    target = opening.scratch / "packed"
    with open_archive(path, LIMITS, opening.expected.name_encoding, opening.notes) as (archive, infos):
        member = next(info for info in infos if info.filename == name)
        warn_of_others(sort_members(infos), [member], opening)
        with target.open("wb") as file:
            for chunk in read_chunks(archive, member, LIMITS.unpacked_bytes):
                opening.tick()
                file.write(chunk)
    return target


def warn_of_others(contents: Contents, rows: Sequence[zipfile.ZipInfo], opening: Opening) -> None:
    """Warn of the files of a zip that are none of the `rows`."""
    others = contents.besides(rows)
    if others:
        message = f"{len(others)} files of the zip are not answered: {name_some(others)}"
        remedy = "send files of one kind; labels and tables next to them are not read"
        opening.notes.warn(WarningCode.FILES_NOT_READ, message, count=len(others), remedy=remedy)
