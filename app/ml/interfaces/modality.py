"""Preprocessing: what a user may choose of it, and the modality that is fitted with the choice."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from app.ml.data.spec import DataSpec
from app.ml.interfaces.resolvable import Complete, Config, Resolvable, Shape
from app.ml.interfaces.values import Encoding, Rows, StoredRows


class PreprocessingRequest(Config, Resolvable["PreprocessingConfig"], ABC):
    """What a user may choose of a modality's preprocessing; the kind is the modality's."""


class PreprocessingConfig(Complete, PreprocessingRequest, ABC):
    """The same with nothing left to choose."""

    @abstractmethod
    def largest(self, spec: DataSpec) -> Encoding:
        """The largest encoding that a dataset's rows can get, before anything is fitted."""


class Modality(Config, ABC):
    """Preprocessing, with its fitted numbers: part of the model."""

    bounded: ClassVar[bool]  # whether encoded values lie in [0, 1]
    learns: ClassVar[bool]  # whether fit() looks at the rows at all

    @classmethod
    @abstractmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: Any) -> Self:
        """Learn from the train split's rows as stored (N, ...), which may be more than memory holds.

        `chosen` is the modality's PreprocessingConfig.
        """

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of one encoded row."""

    @property
    def encoding(self) -> Encoding:
        """What a backbone gets."""
        return Encoding(shape=self.shape)

    def aligned(self, inputs: Rows, spec: DataSpec) -> Rows:
        """A fitting dataset's rows (N, ...) as this modality stores them: same order of columns, same codes."""
        return inputs

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """This preprocessing for a fitting dataset, of which `inputs` are the train rows (N, ...); codes stay."""
        return self

    @abstractmethod
    def encode(self, inputs: Rows) -> Tensor:
        """Rows as stored to float32 (N, *shape), or for texts int64 (N, T)."""

    @abstractmethod
    def decode(self, inputs: Sequence[Any]) -> Rows:
        """JSON values to rows as stored (N, ...). Raises `InputError` naming every bad input (at most 20)."""

    @abstractmethod
    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's rows differ from those this was fitted on; empty when they fit."""

    @abstractmethod
    def specimens(self, count: int) -> Rows:
        """Made-up rows as stored (count, ...), always the same ones: a saved model proves itself on them."""

    def characters(self) -> list[int] | None:
        """Of texts: how many characters each code stands for, (V,)."""
        return None

    def save(self, folder: Path) -> list[str]:
        """Write what is too large for the manifest (a vocabulary) and return the files' names."""
        return []

    def loaded(self, folder: Path) -> Self:
        """This one with what `save` wrote. Raises `CorruptModelError`."""
        return self
