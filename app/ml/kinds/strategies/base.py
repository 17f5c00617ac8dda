"""How a backbone is adapted to heads: the shape of a strategy."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from app.ml.interfaces import Backbone, Config, ParamGroup
from app.ml.interfaces.resolvable import Complete, Resolvable


class StrategyRequest(Config, Resolvable["StrategyConfig"], ABC):
    """A choice of how a backbone is adapted to heads, in which fields may be "auto"."""


class StrategyConfig(Complete, StrategyRequest, ABC):
    """A choice of how a backbone is adapted to heads with nothing left to choose."""

    caches_features: ClassVar[bool]  # True: the backbone is frozen and runs once per row, heads train on features
    selects_strategy: ClassVar[bool] = False  # whether it stands for another one, which the trainer selects

    @property
    def solving(self) -> Literal["never", "first", "only", "around"]:
        """Whether heads are solved for on the features: never, before the steps, before and after, or instead."""
        return "never"

    @abstractmethod
    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """What the optimizer moves; every other parameter is frozen."""

    def adapt(self, backbone: Backbone) -> Backbone:
        """Put modules into a backbone before training (adapters); called once, after its weights are loaded."""
        return backbone

    def merged(self, backbone: Backbone) -> Backbone:
        """Take them out again for the model's files: the same function with a plain backbone's parameters."""
        return backbone

    def begin(self, backbone: Backbone, step: int, total: int) -> None:
        """Before step `step` of `total`: freeze or unfreeze; as `Objective.begin`."""

    def features(self, backbone: Backbone, inputs: Tensor) -> Tensor:
        """What the heads get, (B, *shape) to (B, F): by default the backbone's features."""
        return backbone(inputs)  # type: ignore[no-any-return]

    @property
    def source(self) -> str:
        """What `features` are made of, in a word that tells it from others: features are kept under it."""
        return "last"

    def widths(self, backbone: Backbone) -> tuple[int, ...]:
        """How many of `features` come from each layer."""
        return (backbone.features,)

    def width(self, backbone: Backbone) -> int:
        """F of `features`."""
        return sum(self.widths(backbone))
