"""The values that the interfaces speak of: batches of rows, encodings, configs and what resolves them."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self

from numpy.typing import NDArray
from torch import Tensor, nn

from app.ml.data.spec import Frozen, ModalityKind

Shape = tuple[int, ...]
Rows = NDArray[Any]
Losses = dict[str, Tensor]
_TOKEN_VALUES = 256  # at least, of a token inside a network
Accepts = Literal["number", "category", "label", "inputs"]
"""The type of a head's targets; "label": a category of no and yes; "inputs": it learns from the rows themselves."""


class Decision(Frozen):
    """What an `"auto"` became, and why."""

    field: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class ResolutionContext:
    """What the resolution of `"auto"` fields may depend on: the data, the heads and where the backbone comes from."""

    modality: ModalityKind
    shape: Shape  # of one row as stored: (H, W, C) or (D,)
    train_rows: int
    pretrained: bool = False  # whether the backbone comes from a model
    causal: bool = False  # whether step t of a sequence may only see the steps up to t
    continuous: bool = False  # whether texts are pieces of one long text
    solvable: bool = True  # whether the best weights of every head can be solved for


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


class Config(Frozen):
    """A validated choice. `resolve` replaces its `"auto"` fields, or raises `ConfigError` where it cannot fit."""

    kind: str

    def resolve(self, context: ResolutionContext) -> tuple[Self, tuple[Decision, ...]]:
        """Return this config without any `"auto"`, and the decisions taken; fields are named relative to it."""
        return self, ()


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
