"""Full fine-tuning: backbone and heads learn together, the backbone at a rate of its own.

Girshick et al., "Rich feature hierarchies", 2014; Yosinski et al., "How transferable are features in deep neural
networks?", 2014; different rates per part after Howard and Ruder, "Universal language model fine-tuning", 2018.
"""

from typing import Literal

from pydantic import Field
from torch import nn

from app.ml.fields import Real
from app.ml.interfaces import Backbone, ParamGroup, StrategyConfig


class Full(StrategyConfig):
    """Train everything."""

    caches_features = False
    kind: Literal["full"] = "full"
    backbone_lr_scale: Real = Field(
        1.0, gt=0, le=100, description="The backbone's learning rate, as a multiple of the heads'."
    )

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads, and the backbone at its own rate."""
        return [
            ParamGroup(list(heads.parameters())),
            ParamGroup(list(backbone.parameters()), self.backbone_lr_scale),
        ]
