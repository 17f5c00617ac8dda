"""Several tables in one zip: their rows stand below each other in the order of the names, each with its file's name.

Each is read as if it had been sent alone. All hold the same inputs of the model; of other columns, such as ids or
targets, some may lack a few.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from app.batch_predictions.row_files.archives import warn_of_others
from app.batch_predictions.row_files.base import LIMITS, Block, ColumnType, Opening, RowFile, wider_type
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.options import PrepareOptions
from app.datasets.readers.archive import open_archive
from app.datasets.readers.contents import sort_members
from app.datasets.readers.several_tables import tables_of, take_notes, unpack
from app.datasets.report import Notes

OpenRows: TypeAlias = Callable[[Path, Opening], RowFile]
_MAX_SHOWN = 10


class SeveralTables:
    """Files of rows, one behind the other."""

    def __init__(self, files: Sequence[tuple[str, RowFile]]) -> None:
        self._files = files
        self._columns: dict[str, ColumnType] = {}
        for _, file in files:
            for name, kind in file.columns.items():
                self._columns[name] = wider_type(self._columns.get(name, kind), kind)

    @property
    def rows(self) -> int:
        """The rows of all files."""
        return sum(file.rows for _, file in self._files)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The columns of all files."""
        return self._columns

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on."""
        first = 0
        for name, file in self._files:
            if first + file.rows > start:
                for block in file.blocks(max(0, start - first)):
                    yield replace(block, first=first + block.first, files=[name] * len(block))
            first += file.rows


def open_tables(path: Path, opening: Opening, open_rows: OpenRows) -> SeveralTables:
    """Unpack and open all tables of a zip.

    Raises:
        DatasetError: mixed_layout: some lack inputs of the model that others hold; or a fault of a file, by its name.
    """
    options = PrepareOptions(encoding=opening.expected.encoding)
    files: list[tuple[str, RowFile]] = []
    with open_archive(path, LIMITS, opening.expected.name_encoding, opening.notes) as (archive, infos):
        contents = sort_members(infos)
        members = tables_of(contents)
        warn_of_others(contents, members, opening)
        for place, member in enumerate(members):
            below = replace(opening.below(f"table{place}"), notes=Notes(), filename=member.filename)
            context = Context(below.scratch, options, LIMITS, below.notes, lambda _, __: opening.tick())
            start = sum(file.rows for _, file in files)
            try:
                files.append((member.filename, open_rows(unpack(archive, member, context), below)))
            except DatasetError as error:
                message = f"{member.filename[:200]!r}: {error.message}"
                raise DatasetError(error.code, message, error.errors) from error
            take_notes(below.notes, member.filename, start, opening.notes)
    _check_inputs(files, opening)
    return SeveralTables(files)


def _check_inputs(files: Sequence[tuple[str, RowFile]], opening: Opening) -> None:
    """Refuse tables that do not all hold the same inputs of the model."""
    inputs = [
        (name, opening.expected.names.intersection(opening.expected.inputs, file.columns)) for name, file in files
    ]
    first_name, first = inputs[0]
    for name, held in inputs[1:]:
        if held != first:
            owner, other = (name, first_name) if held - first else (first_name, name)
            columns = sorted(held ^ first if not held - first else held - first)
            shown = ", ".join(columns[:_MAX_SHOWN]) + (" ..." if len(columns) > _MAX_SHOWN else "")
            message = f"the tables {first_name!r} and {name!r} do not hold the same inputs: {shown} "
            message += (
                f"{'is' if len(columns) == 1 else 'are'} in {owner!r} and not in {other!r}; send them in two jobs"
            )
            raise DatasetError(Code.MIXED_LAYOUT, message, [RowError((columns[0],), message)])
