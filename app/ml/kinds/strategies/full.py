"""Full fine-tuning: backbone and heads learn together, the backbone at a rate of its own.

Girshick et al., "Rich feature hierarchies", 2014; Yosinski et al., "How transferable are features in deep neural
networks?", 2014; different rates per part after Howard and Ruder, "Universal language model fine-tuning", 2018.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from app.ml.fields import Auto, Real
from app.ml.interfaces import Backbone, Choices, ParamGroup, ResolutionContext
from app.ml.kinds.strategies.base import StrategyConfig, StrategyRequest

Scale = Annotated[Real, Field(gt=0, le=100)]


class Full(StrategyRequest):
    """Train everything."""

    kind: Literal["full"] = "full"
    backbone_lr_scale: Auto[Scale] = Field(
        "auto", description="The backbone's learning rate, as a multiple of the heads'."
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedFull]":
        """Return the class that adapts."""
        return ResolvedFull

    def choices(self, context: ResolutionContext) -> Choices:
        """A pretrained backbone moves at a tenth of the heads' rate, a new one at theirs."""
        if context.pretrained:
            return {"backbone_lr_scale": (0.1, "the backbone is pretrained, the heads are new")}
        return {"backbone_lr_scale": (1.0, "everything is new")}


class ResolvedFull(Full, StrategyConfig):
    """The same with a known rate of the backbone."""

    caches_features = False
    backbone_lr_scale: Scale

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads, and the backbone at its own rate."""
        return [
            ParamGroup(list(heads.parameters())),
            ParamGroup(list(backbone.parameters()), self.backbone_lr_scale),
        ]
