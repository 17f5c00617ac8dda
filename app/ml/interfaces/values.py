"""The values that the interfaces speak of: batches of rows, their encodings, and parameters that are trained alike."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from numpy.typing import NDArray
from torch import Tensor, nn

from app.ml.data.spec import Frozen
from app.ml.interfaces.resolvable import Shape

Rows = NDArray[Any]
Losses = dict[str, Tensor]
_TOKEN_VALUES = 256  # at least, of a token inside a network
Accepts = Literal["number", "category", "label", "inputs"]
"""The type of a head's targets; "label": a category of no and yes; "inputs": it learns from the rows themselves."""


class Encoding(Frozen):
    """What preprocessing hands to a backbone: float32 (B, *shape), or with a vocabulary int64 codes (B, T) below it."""

    shape: tuple[int, ...]
    vocabulary: int | None = None
    numbers: tuple[int, ...] | None = None  # of a table: which features are measured, not 0 or 1; None: any may be

    def fits(self, given: "Encoding") -> bool:
        """Whether a backbone built for this can take `given`; models of old do not know which features are numbers."""
        return self in {given, given.model_copy(update={"numbers": None})}

    @property
    def volume(self) -> Shape:
        """Shape that a row takes up inside a network: a text's codes become vectors, then answers over tokens."""
        return self.shape if self.vocabulary is None else (*self.shape, max(_TOKEN_VALUES, self.vocabulary))


@dataclass(frozen=True, slots=True)
class Mix:
    """Every row b was mixed with row order[b]: its own labels count `share`, the other's 1 - share."""

    order: Tensor  # int64 (B,)
    share: Tensor  # (B,)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows and their labels: inputs (B, *shape); classes int64 with -1 missing, numbers float64 with NaN missing."""

    inputs: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)
    mix: Mix | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def with_inputs(self, inputs: Tensor) -> "Batch":
        """The same labels for other inputs (B, *shape)."""
        return replace(self, inputs=inputs)


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Parameters that share a learning rate, `lr_scale` times the configured one; only some shrink by weight decay."""

    params: list[nn.Parameter]
    lr_scale: float = 1.0
    decays: bool = True


class Examples(Protocol):
    """A split's rows as an objective may look at them before training; see app.ml.data.arrays."""

    @property
    def characters(self) -> Tensor | None:
        """How many characters each code of a text stands for, int64 (V,)."""
        ...

    @property
    def targets(self) -> dict[str, Tensor]:
        """Labels (N,) by target."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor | None) -> Batch:
        """The rows at `indices` (B,), or all of them."""
        ...


class StoredRows(Protocol):
    """Rows as stored (N, ...), read from disk by slices; an array is such, too."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice) -> Rows: ...
