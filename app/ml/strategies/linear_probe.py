"""A linear probe: the backbone is frozen, only the heads learn, on its standardised features.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017. Since the features of a
row never change, they are computed once and kept.
"""

from typing import Literal

from torch import nn

from app.ml.interfaces import Backbone, ParamGroup, StrategyConfig


class LinearProbe(StrategyConfig):
    """Train the heads on the frozen backbone's features."""

    caches_features = True
    kind: Literal["linear_probe"] = "linear_probe"

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:  # noqa: ARG002 - it stays frozen
        """The heads alone."""
        return [ParamGroup(list(heads.parameters()))]
