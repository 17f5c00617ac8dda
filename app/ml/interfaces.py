"""The shapes of learning, on one page.

A **config** is a frozen choice with a `kind`; it builds a module. B is the batch, F a backbone's number of
features, `shape` the shape of one encoded row: `(C, H, W)` for images, `(D,)` for tables.

    Modality   rows as stored (N, ...)  -> encode -> float32 (N, *shape);  JSON -> decode -> rows as stored
    Backbone   (B, *shape) -> (B, F);  mirror() is the way back, (B, F) -> (B, *shape)
    Objective  Batch -> {"loss": scalar to minimise, ...};  what a training step works on
    Method     builds an Objective around a backbone: how one pretrains
    Head       (B, F) -> (B, K);  answers one target
    Strategy   how a pretrained backbone is adapted: what trains, how fast, and whether features are cached

Each kind is one file in its family's folder; the folder's `__init__.py` is the written union of them.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from app.ml.spec import DataSpec, Frozen, ModalityKind, TargetSpec

Shape = tuple[int, ...]
Rows = NDArray[Any]
Losses = dict[str, Tensor]
_MOST_ROWS, _BLOCK_BYTES = 1024, 64 << 20


class Decision(Frozen):
    """What an `"auto"` became, and why."""

    field: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a config may know of the data when it settles its `"auto"` fields."""

    modality: ModalityKind
    shape: Shape  # of one row as stored: (H, W, C) or (D,)
    train_rows: int
    pretrained: bool = False  # whether the backbone comes from a model


class Config(Frozen):
    """A validated choice. `settle` replaces its `"auto"` fields, or raises `ConfigError` where it cannot fit."""

    kind: str

    def settle(self, facts: Facts) -> tuple[Self, tuple[Decision, ...]]:  # noqa: ARG002 - kinds with an "auto" use it
        """Return this config without any `"auto"`, and the decisions taken; fields are named relative to it."""
        return self, ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows and their labels: inputs (B, *shape); classes int64 with -1 missing, numbers float64 with NaN missing."""

    inputs: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Parameters that share a learning rate, `lr_scale` times the configured one."""

    params: list[nn.Parameter]
    lr_scale: float = 1.0


class Modality(Config, ABC):
    """Preprocessing, with its fitted numbers: part of the model."""

    bounded: ClassVar[bool]  # whether encoded values lie in [0, 1]
    learns: ClassVar[bool]  # whether fit() looks at the rows at all

    @classmethod
    @abstractmethod
    def fit(cls, inputs: Rows, spec: DataSpec) -> Self:
        """Learn from the train split's rows as stored (N, ...)."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of one encoded row."""

    def aligned(self, inputs: Rows, spec: DataSpec) -> Rows:  # noqa: ARG002 - tables use it
        """A fitting dataset's rows (N, ...) as this modality stores them: same order of columns, same codes."""
        return inputs

    @abstractmethod
    def encode(self, inputs: Rows) -> Tensor:
        """Rows as stored (N, ...) to float32 (N, *shape)."""

    @abstractmethod
    def decode(self, inputs: Sequence[Any]) -> Rows:
        """JSON values to rows as stored (N, ...). Raises `InputError` naming every bad input (at most 20)."""

    @abstractmethod
    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's rows differ from those this was fitted on; empty when they fit."""


class Backbone(nn.Module, ABC):
    """A network from rows (B, *shape) to features (B, F)."""

    input_shape: Shape
    features: int

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """(B, *input_shape) to (B, F)."""

    @abstractmethod
    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Intermediate features, one (B, F_i) per layer, the last being forward's."""

    @abstractmethod
    def mirror(self) -> nn.Module:
        """A new network (B, F) to (B, *input_shape): this one's layers backwards, linear at its end."""


class BackboneConfig(Config, ABC):
    """A choice of backbone."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table")

    @abstractmethod
    def build(self, input_shape: Shape) -> Backbone:
        """Build it with fresh weights from torch's global generator."""


class Objective(nn.Module, ABC):
    """A loss with everything that it trains."""

    backbone: Backbone

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """Scalars (); "loss" is minimised, the rest are reported. In eval mode: the same batch, the same values."""

    def groups(self) -> list[ParamGroup]:
        """What the optimizer moves: by default every parameter at the configured rate."""
        return [ParamGroup(list(self.parameters()))]


class MethodConfig(Config, ABC):
    """A choice of pretraining method."""

    @abstractmethod
    def build(self, backbone: Backbone) -> Objective:
        """Put the method's own modules around a backbone; "auto" must be settled."""


class Head(nn.Module, ABC):
    """Answers one target from features (B, F). `fit_*` set buffers from the train split before training."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to raw outputs (B, K)."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over the rows that carry the target; 0 where none does. (B, K), (B,) to ()."""

    @abstractmethod
    def predict(self, output: Tensor) -> list[dict[str, Any]]:
        """Raw outputs to one JSON answer per row; every number is finite."""

    @abstractmethod
    def evaluate(self, output: Tensor, target: Tensor) -> dict[str, Any]:
        """Metrics over the rows that carry the target: JSON, null where one is undefined."""

    @abstractmethod
    def fit_features(self, features: Tensor) -> None:
        """Standardise what comes in by the train split's features (N, F)."""

    @abstractmethod
    def fit_target(self, target: Tensor) -> None:
        """Take from the train split's labels (N,) what the loss needs (balance, mean, deviation)."""


class HeadConfig(Config, ABC):
    """A choice of head for one target."""

    accepts: ClassVar[Literal["number", "category"]]
    target: str
    name: str | None

    @property
    def key(self) -> str:
        """The name of this head's answers."""
        return self.name or self.target

    @abstractmethod
    def build(self, features: int, target: TargetSpec) -> Head:
        """Build it for `features` inputs, with fresh weights from torch's global generator."""


class StrategyConfig(Config, ABC):
    """A choice of how a backbone is adapted to heads."""

    caches_features: ClassVar[bool]  # True: the backbone is frozen and runs once per row, heads train on features

    @abstractmethod
    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """What the optimizer moves; every other parameter is frozen."""


def each_block(rows: int, block: int) -> Iterator[slice]:
    """Cut `rows` into slices of at most `block`."""
    return (slice(start, min(start + block, rows)) for start in range(0, rows, block))


def rows_per_block(shape: Shape) -> int:
    """How many encoded rows of `shape` go through a network at once: 1 to 1,024, and near 64 MiB of float32."""
    return max(1, min(_MOST_ROWS, _BLOCK_BYTES // (4 * math.prod(shape))))


def as_rows(values: Sequence[Any], dtype: type[np.generic]) -> Rows:
    """Stack decoded rows (N, ...)."""
    return np.stack([np.asarray(value, dtype=dtype) for value in values])
