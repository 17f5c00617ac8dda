"""Preprocessing as a user may choose it, and the modality that is fitted with that choice."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field
from torch import Tensor, nn

from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.resolvable import Complete, Config, Resolvable, Shape
from app.ml.interfaces.signature import Signature
from app.ml.interfaces.values import Encoding, Rows, StoredRows
from app.ml.spec import DataSpec, WarningItem


class PreprocessingRequest(Config, Resolvable["PreprocessingConfig"], ABC):
    """A choice of a modality's preprocessing, in which fields may be "auto"; the kind is the modality's."""


class PreprocessingConfig(Complete, PreprocessingRequest, ABC):
    """A choice of a modality's preprocessing with nothing left to choose."""

    @abstractmethod
    def largest(self, spec: DataSpec) -> Encoding:
        """Return the largest encoding that a dataset's rows can get, before anything is fitted."""


@dataclass(frozen=True, slots=True)
class UnknownValues:
    """How many values of a column, or tokens of texts (`column` is None), a fitted modality does not know."""

    column: str | None
    count: int
    total: int
    examples: tuple[str, ...]


class Modality(Config, ABC):
    """Fitted preprocessing, which is part of the model: from rows as stored, or JSON, to encoded rows."""

    bounded: ClassVar[bool]  # whether encoded values lie in [0, 1]
    learns: ClassVar[bool]  # whether fit() looks at the rows at all
    left_out: tuple[str, ...] = Field(
        default=(), description="Columns of the training file that are no inputs: rows to answer may hold them."
    )
    counts_tokens: ClassVar[bool] = False  # whether unknown values are tokens of texts; else values of columns

    @classmethod
    @abstractmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: Any) -> Self:
        """Fit on the train split's rows as stored (N, ...), which may be more than memory holds.

        `chosen` is the modality's PreprocessingConfig.
        """

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of one encoded row."""

    @property
    def encoding(self) -> Encoding:
        """The form of encoded rows."""
        return Encoding(shape=self.shape)

    def aligned(self, inputs: Rows, spec: DataSpec) -> Rows:
        """Bring the rows (N, ...) of a dataset that fits into this modality's order of columns, and its codes."""
        return inputs

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """Adapt to another dataset that fits, whose train rows are `inputs` (N, ...); codes stay."""
        return self.model_copy(update={"left_out": spec.left_out})

    @abstractmethod
    def encode(self, inputs: Rows) -> Tensor:
        """Encode rows as stored: float32 (N, *shape), or for texts int64 (N, T)."""

    def encoded(self, inputs: Rows) -> Rows:
        """Do the same, to an array."""
        return self.encode(inputs).numpy()

    @abstractmethod
    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """Read JSON values, or NumPy arrays, as rows as stored (N, ...); what is doubtful of them goes to `doubts`.

        Raises:
            InputError: it names every bad input (at most 20).
        """

    export_input: ClassVar[str] = "encoded"  # the name of what an exported model takes

    def encoder(self) -> nn.Module:
        """Return `encode` as a module, as far as it is arithmetic: it becomes part of exported models."""
        return nn.Identity()

    def export_rows(self, inputs: Rows) -> Tensor:
        """Return rows as stored (N, ...) as `encoder` takes them."""
        return self.encode(inputs)

    def decode_sound(self, inputs: Rows) -> Rows | None:
        """Read an array at once where nothing in it is doubtful or wrong, as `decode` does; None where something is.

        By default None: kinds that read arrays value by value have no faster way.
        """
        return None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys under which an object of a row holds what is encoded; other keys of it say nothing."""
        return ()

    @property
    def required_keys(self) -> tuple[str, ...]:
        """Those of `keys` that every train row had, so that a file of rows has them."""
        return ()

    @property
    def warnings(self) -> tuple[WarningItem, ...]:
        """What is doubtful of the rows that it was fitted on, or adapted to."""
        return ()

    @abstractmethod
    def signature(self) -> Signature:
        """Return what rows to answer hold, with an example."""

    @abstractmethod
    def spec(self) -> DataSpec:
        """Return the description of rows as stored that fit; it counts none."""

    @abstractmethod
    def differences(self, spec: DataSpec) -> list[str]:
        """Return in words how a dataset's rows differ from those this was fitted on; empty when they fit."""

    @abstractmethod
    def specimens(self, count: int) -> Rows:
        """Return made-up rows as stored (count, ...), always the same: its outputs for them check a saved model."""

    def unknown_values(self, inputs: StoredRows, spec: DataSpec) -> list[UnknownValues]:
        """Count the values of a dataset's rows (N, ...) that this was not fitted on; by default all are known."""
        return []

    def characters(self) -> list[int] | None:
        """Return how many characters each code of texts stands for, (V,); None for other rows."""
        return None

    def save(self, folder: Path) -> list[str]:
        """Write what is too large for the manifest (a vocabulary) and return the files' names."""
        return []

    def loaded(self, folder: Path) -> Self:
        """Return this modality with what `save` wrote. Raises `CorruptModelError`."""
        return self
