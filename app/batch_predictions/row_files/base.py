"""What a file of rows to answer is: rows by number, read in blocks from any row on, so that no file is in memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy.typing as npt

from app.datasets.limits import Limits
from app.datasets.options import Encoding, NameEncoding, SeriesOptions
from app.datasets.report import Notes
from app.ml.spec import ModalityKind

MAX_BLOCK_ROWS = 1024
MAX_BLOCK_BYTES = 8 << 20
MAX_PICTURES = 16  # pictures of one block; each may have 25 million pixels
# A table has as many rows or cells as its bytes allow: what bounds an upload is its size, and no row is kept.
LIMITS = Limits(rows=1 << 40, cells=1 << 50, unpacked_bytes=1 << 40, canonical_bytes=1 << 40)

ColumnType: TypeAlias = Literal["text", "whole", "number", "truth"]
Tick: TypeAlias = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the model's training file was: its modality, the names of its inputs and of its other columns, its options.

    `inputs` are the keys under which a row holds what the model reads; `required` ones have to be there.
    """

    modality: ModalityKind
    inputs: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    encoding: Encoding = "auto"
    name_encoding: NameEncoding = "auto"
    paragraphs: bool = False  # rows of plain text; else they are its lines
    channels: int = 1  # of series: the first of the inputs
    steps: int = 1 << 40  # of the longest series
    series: SeriesOptions | None = None  # how lines make series
    is_long: bool = False  # whether this file has to be one of such lines

    @property
    def names(self) -> frozenset[str]:
        """All names of columns that the training file had."""
        return frozenset((*self.inputs, *self.left_out))


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows: `inputs` (n), as predictions take them; rows that cannot be read have an error by place.

    `files` are the names of the rows' own files in a zip.
    """

    first: int
    inputs: Sequence[Any] | npt.NDArray[Any]
    errors: Mapping[int, str] = field(default_factory=dict)
    files: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.inputs)


class RowFile(Protocol):
    """A file of rows: how many there are, and the columns that rows with names hold, with their types."""

    @property
    def rows(self) -> int:
        """How many rows the file holds; each has one number, from 0 on."""
        ...

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The columns of all rows; none where rows are texts, lists or arrays."""
        ...

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on; a row is in the same block wherever reading began at a block's start.

        Raises:
            DatasetError: the file cannot be read on.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """What every reader works with: a folder for scratch files, what is expected, notes, and `tick`, which may stop."""

    scratch: Path
    expected: Expected
    notes: Notes
    tick: Tick = lambda: None
    filename: str = ""

    def below(self, name: str) -> "Opening":
        """Return the same with a scratch folder of its own."""
        scratch = self.scratch / name
        scratch.mkdir(exist_ok=True)
        return replace(self, scratch=scratch)


@dataclass(frozen=True, slots=True)
class Item:
    """A row as it is read: its value, or the sentence that says why there is none; its size in bytes."""

    value: Any
    error: str | None
    size: int
    file: str | None = None


def blocks_of(items: Iterable[Item], start: int, max_rows: int = MAX_BLOCK_ROWS) -> Iterator[Block]:
    """Put items, of which the first is row `start`, into blocks of bounded rows and bytes."""
    block: list[Item] = []
    size = 0
    for item in items:
        block.append(item)
        size += item.size
        if len(block) >= max_rows or size >= MAX_BLOCK_BYTES:
            yield _block(block, start)
            start += len(block)
            block, size = [], 0
    if block:
        yield _block(block, start)


def _block(items: Sequence[Item], first: int) -> Block:
    errors = {place: item.error for place, item in enumerate(items) if item.error is not None}
    files = [item.file or "" for item in items] if items[0].file is not None else None
    return Block(first, [item.value for item in items], errors, files)


def wider(known: ColumnType | None, value: Any) -> ColumnType | None:
    """Return the type of a column that holds `value`, too; None while all its values are missing."""
    match value:
        case None:
            return known
        case bool():
            own: ColumnType = "truth"
        case int():
            own = "whole"
        case float():
            own = "number"
        case _:
            own = "text"
    return own if known is None else wider_type(known, own)


def wider_type(one: ColumnType, other: ColumnType) -> ColumnType:
    """Return the type of a column that holds values of both types."""
    if one == other:
        return one
    return "number" if {one, other} == {"whole", "number"} else "text"
