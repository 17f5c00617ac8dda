"""The base class of strategies: how a pretrained backbone is adapted to heads."""

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
    keeps_statistics: ClassVar[bool] = False  # whether running statistics of all norms stay as the backbone has them

    @property
    def solving(self) -> Literal["never", "first", "only", "around"]:
        """Whether heads are solved for on the features: never, before the steps, before and after, or instead."""
        return "never"

    @property
    def one_device(self) -> str | None:
        """Why it trains on one device alone, in words; None where several can share its steps."""
        if self.solving == "only":
            return "the heads are solved for at once, so that there are no steps to share; full and lora take steps"
        return None

    @abstractmethod
    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """Parameter groups of the optimizer; every other parameter is frozen."""

    def adapt(self, backbone: Backbone) -> Backbone:
        """Insert modules (adapters) into a backbone; called once before training, after its weights are loaded."""
        return backbone

    def merged(self, backbone: Backbone) -> Backbone:
        """Merge the inserted modules into a plain backbone that computes the same: for the model's files."""
        return backbone

    def begin(self, backbone: Backbone, step: int, total: int) -> None:
        """Freeze or unfreeze parameters before step `step` of `total`; see `Objective.begin`."""

    def features(self, backbone: Backbone, inputs: Tensor) -> Tensor:
        """Features for the heads, (B, *shape) to (B, F): by default the backbone's."""
        return backbone(inputs)  # type: ignore[no-any-return]

    @property
    def source(self) -> str:
        """Name of the layers that `features` come from: part of the key of cached features."""
        return "last"

    def widths(self, backbone: Backbone) -> tuple[int, ...]:
        """Number of `features` from each layer."""
        return (backbone.features,)

    def width(self, backbone: Backbone) -> int:
        """F of `features`."""
        return sum(self.widths(backbone))
