"""The two shapes a dataset has on its way: as a reader found it, and as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.texts import Texts
from app.datasets.report import Removal
from app.ml.data.spec import ColumnSpec, ModalityKind, TargetSpec, ValueScale

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Inputs: TypeAlias = npt.NDArray[Any] | Texts
Role: TypeAlias = Literal["input", "target", "group", "ignored", "split", "time"]
ColumnType: TypeAlias = Literal["number", "category", "date", "labels"]


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """Numbers that the container itself calls numbers: (N,), NaN = missing."""

    name: str
    values: Floats
    whole: bool = False
    boolean: bool = False


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Text, or numbers written as text: an Arrow string array of N, null = missing."""

    name: str
    values: Any
    typed: bool = False
    """True where the container says that this is text, so that "3" is not taken for a number."""


@dataclass(frozen=True, slots=True)
class DateColumn:
    """Dates that the container itself calls dates: days since 1970-01-01 (N,), NaN = missing."""

    name: str
    values: Floats


@dataclass(frozen=True, slots=True)
class LabelsColumn:
    """Lists of labels: an Arrow array of N lists of strings; an empty list is a row without any, null is missing."""

    name: str
    values: Any


Column: TypeAlias = NumberColumn | TextColumn | DateColumn | LabelsColumn


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a reader found: `read` rows, of which it could open N.

    `inputs` are images uint8 (N, H, W, C), a matrix of numbers float32 (N, D), series float32 (N, T, C) that end in
    NaN, or texts; without it `columns` hold the inputs too. `roles` and `types` are what the container itself says of
    its columns. Pixels were multiplied with `value_scale`. `channels` names those of series, `taken` the columns that
    became the inputs. `windows`: the rows are pieces of one long text, in order.
    """

    format: str
    modality: ModalityKind
    read: int
    rows: Ints
    inputs: Inputs | None
    columns: tuple[Column, ...]
    roles: dict[str, Role] = field(default_factory=dict)
    types: dict[str, ColumnType] = field(default_factory=dict)
    corrupt: Sequence[Removal] = ()
    value_scale: ValueScale = 1
    channels: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    windows: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """Every row as numbers, in source order.

    inputs (N, *shape) or texts; targets (N, T) with NaN = missing; rows (N,) numbers in the source; given_split (N,)
    of 0, 1, 2, groups (N,) digests and times (N,) only where the user has said so. `windows`: the rows are pieces of
    one long text, in order, so that none repeats another and a split goes by position.
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
    times: Floats | None = None
    windows: bool = False
