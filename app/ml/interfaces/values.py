"""The values that the interfaces speak of: batches of rows, their encodings, and parameters that are trained alike."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from app.ml.fields import Integer
from app.ml.interfaces.resolvable import Shape
from app.ml.spec import Frozen

Rows = NDArray[Any]
Losses = dict[str, Tensor]
_MAX_FEATURES = 1 << 31
_MIN_TOKEN_VALUES = 256  # of a token inside a network
Accepts = Literal["number", "category", "label", "inputs"]
"""The type of a head's targets; "label": a category of no and yes; "inputs": it learns from the rows themselves."""


class CategoryFeatures(Frozen):
    """A column of categories by its features, first .. end - 1: one is 1, or none where the category is unknown."""

    name: str
    first: Integer = Field(ge=0, le=_MAX_FEATURES)
    end: Integer = Field(ge=0, le=_MAX_FEATURES)


class Encoding(Frozen):
    """The form of encoded rows: float32 (B, *shape), or with a vocabulary int64 codes (B, T) below it."""

    shape: tuple[int, ...]
    vocabulary: int | None = None
    numbers: tuple[int, ...] | None = None  # of a table: which features are measured, not 0 or 1; None: any may be
    categories: tuple[CategoryFeatures, ...] | None = None  # of a table; None: not known

    def fits(self, other: "Encoding") -> bool:
        """Return whether a backbone built for this takes `other`; old models do not say what their features are."""
        unsaid = {name: None for name in ("numbers", "categories") if getattr(self, name) is None}
        return self == other.model_copy(update=unsaid)

    @property
    def volume(self) -> Shape:
        """Shape of the largest tensor that a network makes of a row: a text's codes become scores of all tokens."""
        return self.shape if self.vocabulary is None else (*self.shape, max(_MIN_TOKEN_VALUES, self.vocabulary))


@dataclass(frozen=True, slots=True)
class Mix:
    """Row b was mixed with row order[b] of the whole batch: its own labels count `share`, the other's 1 - share."""

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
        """Return the same labels for other inputs (B, *shape)."""
        return replace(self, inputs=inputs)


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Parameters that share a learning rate, `lr_scale` times the configured one; only some shrink by weight decay."""

    params: list[nn.Parameter]
    lr_scale: float = 1.0
    decays: bool = True


class ExampleSource(Protocol):
    """The rows of a split as an objective or a head reads them; `app.ml.data.arrays.ExampleSource` is one."""

    @property
    def characters(self) -> Tensor | None:
        """How many characters each code of a text stands for, int64 (V,); None where rows are no texts."""
        ...

    @property
    def targets(self) -> dict[str, Tensor]:
        """Return the labels (N,) by target."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor | None) -> Batch:
        """Return the rows at `indices` (B,), or all of them."""
        ...


class StoredRows(Protocol):
    """Rows as stored (N, ...), read from disk by slices; an array will do, too."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice) -> Rows: ...


@dataclass(frozen=True, slots=True)
class TrainingDefaults:
    """Starting values for what is left "auto": the batch is near `rows / batches`, at least 32 and at most the largest.

    A pretraining method may have its own.
    """

    lr: float  # of adam and adamw
    batches: int
    steps: int  # roughly this many optimizer steps ...
    min_epochs: int  # ... but at least so many passes
    max_epochs: int
    max_batch_size: int = 256
    weight_decay: float = 0.01  # of adamw
    warmup: float = 0.0  # share of the steps
    precision: Literal["float32", "native"] = "float32"
    sums_values: bool = False  # whether a row's loss is a sum over its values, and with it sgd's gradient
