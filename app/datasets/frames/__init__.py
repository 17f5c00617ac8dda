"""Rows while they are prepared: `Loaded`, as a reader returns them, and `Frame`, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.decodings import Decodings
from app.datasets.frames.texts import Texts
from app.datasets.report import Removal
from app.ml.spec import Background, ColumnSpec, DecimalSign, ModalityKind, PixelRange, TargetSpec, ValueScale

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Inputs: TypeAlias = npt.NDArray[Any] | Texts
Role: TypeAlias = Literal["input", "target", "group", "ignored", "split", "time"]
ColumnType: TypeAlias = Literal["number", "category", "date", "text", "labels"]


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column that the file itself declares to hold numbers: (N,), NaN = missing."""

    name: str
    values: Floats
    whole: bool = False
    boolean: bool = False


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of text, or of numbers written as text: an Arrow string array of N, null = missing."""

    name: str
    values: Any
    typed: bool = False
    """True where the file itself declares text, so that "3" is no number."""
    decimal: DecimalSign | None = None
    """The sign that stood before the fractions of its numbers; None: not known."""
    sign: str | None = None
    """The currency or percent sign next to its amounts, maybe an empty one; None: they were plain numbers."""


@dataclass(frozen=True, slots=True)
class DateColumn:
    """A column that the file itself declares to hold dates: days since 1970-01-01 (N,), NaN = missing."""

    name: str
    values: Floats


@dataclass(frozen=True, slots=True)
class LabelsColumn:
    """A column of lists of labels: an Arrow array of N lists of strings; null = missing, empty = no label."""

    name: str
    values: Any


Column: TypeAlias = NumberColumn | TextColumn | DateColumn | LabelsColumn


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file as a reader returns it: of `rows_read` rows the N that could be read, by their numbers in the file `rows`.

    `inputs` are images uint8 (N, H, W, C), a matrix of numbers float64 (N, D), series float64 (N, T, C) padded with
    NaN, or texts; where it is None, `columns` hold the inputs too. `roles` and `types` are what the file itself
    declares of its columns. Pixels were multiplied by `value_scale`, or `pixel_range` of them became 0 .. 255;
    `background` lies under transparent ones. `channels` are the names of the channels of series, `input_names` those
    of the columns that became `inputs`, `decimals` the signs before the fractions of their numbers, by channel, or by
    step of the only one; None: not known. `windows`: the rows are overlapping pieces of one long text, in order.
    `unlabelled` are the numbers of rows that the upload itself says to have no label, in a folder of that name.
    `decodings` are the keys of the image files that the rows were decoded from; None: they were not.
    """

    format: str
    modality: ModalityKind
    rows_read: int
    rows: Ints
    inputs: Inputs | None
    columns: tuple[Column, ...]
    roles: dict[str, Role] = field(default_factory=dict)
    types: dict[str, ColumnType] = field(default_factory=dict)
    corrupt: Sequence[Removal] = ()
    value_scale: ValueScale = 1
    background: Background | None = None
    pixel_range: PixelRange | None = None
    channels: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ()
    decimals: tuple[DecimalSign | None, ...] = ()
    windows: bool = False
    unlabelled: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    decodings: Decodings | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """All rows as numbers, in the order of the file.

    inputs (N, *shape) or texts; targets (N, T), NaN = missing; rows (N,), their numbers in the file; given_split (N,)
    of 0, 1 and 2, groups (N,), a digest of each row's group, and times (N,): None without a column of that role.
    `windows`: the rows are overlapping pieces of one long text, in order: none is a duplicate, and they are split by
    position.
    """

    modality: ModalityKind
    inputs: Inputs
    columns: tuple[ColumnSpec, ...]
    targets: Floats
    target_specs: tuple[TargetSpec, ...]
    rows: Ints
    given_split: Bytes | None
    groups: npt.NDArray[np.uint64] | None
    value_scale: ValueScale = 1
    background: Background | None = None
    pixel_range: PixelRange | None = None
    times: Floats | None = None
    windows: bool = False
    texts: dict[str, Any] = field(default_factory=dict)
    """Of all rows of the file, the columns of texts of a table: Arrow string arrays, null = missing."""
