"""Reads a CSV file in parts of whole records, a large one by several processes.

Where the parts end is guessed by the number of quotes: a field in quotes may hold lines. Every guess is tested, as the
parser is strict: a part that begins with a record, and in which it ends outside of quotes, ends with one. What is not
sound, or beyond a limit, is read on from the part's beginning in one piece, with the lines and rows counted so far, so
that faults are those of a file that is read in one piece.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.datasets.context import Context
from app.datasets.errors import DatasetError
from app.datasets.frames import TextColumn
from app.datasets.frames.spill import map_batches, spill_all, write_batches
from app.datasets.limits import Limits
from app.datasets.readers.csv_parsing import Head, TableParser, Tally
from app.datasets.readers.table_layout import Layout

PART_BYTES = 4 << 20
_MIN_BYTES = 16 << 20  # of fewer, starting processes would cost more than they save
MAX_BYTES_PER_CHAR = 4  # of UTF-8


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a CSV file, all text; columns at the positions `unnamed` got their names here."""

    columns: tuple[TextColumn, ...]
    unnamed: tuple[int, ...]
    tally: Tally


@dataclass(frozen=True, slots=True)
class _Part:
    """The bytes from `start` to `end` of a file; `head` is None at its beginning."""

    path: Path
    start: int
    end: int | None
    layout: Layout
    multiline: bool
    head: Head | None
    context: Context

    @contextmanager
    def opened(self, tally: Tally | None = None) -> Iterator[TableParser]:
        """Open the bytes for a parser, which counts from zero, or goes on counting with `tally`."""
        csv.field_size_limit(self.context.limits.field_chars)
        encoding = "utf-8" if self.start else "utf-8-sig"
        section = io.BufferedReader(_Section(self.path, self.start, self.end))
        with io.TextIOWrapper(section, encoding, newline="") as file:
            yield TableParser(file, self.layout, self.context, multiline=self.multiline, head=self.head, tally=tally)


class _Section(io.RawIOBase):
    """The bytes of a file from `start` to `end`, or to its own end."""

    def __init__(self, path: Path, start: int, end: int | None) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = None if end is None else end - start

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and return how many bytes; 0 at the end."""
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view)
        if self._left is not None:
            self._left -= count
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def read_in_parts(path: Path, layout: Layout, context: Context, *, multiline: bool) -> Table:
    """Read all rows of a file, whose columns are mapped from scratch files where they are large.

    Raises:
        DatasetError: bad_csv, ragged_rows, duplicate_columns, bad_name or too_large.
        UnicodeDecodeError: the file is not UTF-8.
    """
    whole = _Part(path, 0, None, layout, multiline, None, context)
    with whole.opened() as parser:
        head = parser.head()
    tally, batches = Tally(), list[Sequence[Any]]()
    parts = _cut(whole, head)
    rest: _Part | None = None if parts else whole
    for part, rows in zip(parts, context.processes.map(_read_part, parts), strict=False):
        if rows is None or not _may_follow(rows.tally, tally, len(head.names), context.limits):
            rest = replace(part, end=None, context=context)
            break
        tally.add(rows.tally)
        batches += map_batches(rows.path)
        context.progress(0.25, f"{tally.rows} rows read")
    if rest is not None:
        with rest.opened(tally if rest.start else None) as parser:
            batches += (spill_all(columns, context.scratch) for columns in parser.batches())
            tally = parser.tally
    columns = tuple(
        TextColumn(name, pa.chunked_array([batch[j] for batch in batches], pa.string()))
        for j, name in enumerate(head.names)
    )
    return Table(columns, head.unnamed, tally)


def _cut(whole: _Part, head: Head) -> list[_Part]:
    """Return the parts of a large file, for other processes; of a small one none."""
    if whole.path.stat().st_size < _MIN_BYTES:
        return []
    context = whole.context.for_part()
    starts = [0, *_ends(whole.path, context.limits.field_chars, multiline=whole.multiline)]
    return [
        replace(whole, start=start, end=end, head=head if start else None, context=context)
        for start, end in pairwise(starts)
    ]


def _ends(path: Path, field_chars: int, *, multiline: bool) -> Iterator[int]:
    """Yield where parts end: behind lines, with an even number of quotes since the part's beginning.

    Where more bytes go by without such a line than a field of `field_chars` has, a quote stands within a field.
    """
    end, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while end < size:
            block = file.read(PART_BYTES)
            end, quotes, room = end + len(block), block.count(b'"'), MAX_BYTES_PER_CHAR * field_chars
            while line := file.readline(room + 1):
                end, quotes, room = end + len(line), quotes + line.count(b'"'), max(0, room - len(line))
                if line.endswith(b"\n") and (not multiline or quotes % 2 == 0 or not room):
                    break
            yield end


@dataclass(frozen=True, slots=True)
class _PartRows:
    """The file of the rows of a part, and what was counted in it."""

    path: Path
    tally: Tally


def _read_part(part: _Part) -> _PartRows | None:
    """Read the rows of a part; None where something is wrong with it, or with where it begins or ends."""
    try:
        with part.opened() as parser:
            schema = pa.schema([(str(j), pa.string()) for j in range(len(parser.head().names))])
            path = write_batches(parser.batches(), schema, part.context.scratch)
            return _PartRows(path, parser.tally)
    except (DatasetError, UnicodeDecodeError):
        return None


def _may_follow(later: Tally, tally: Tally, width: int, limits: Limits) -> bool:
    """Return whether a part adds no rows beyond the limits, and took no row below others for a rule below the names."""
    rows = tally.rows + later.rows
    return rows <= limits.rows and rows * width <= limits.cells and not (later.ruled and tally.rows)
