"""Full fine-tuning: backbone and heads learn together, the backbone at a rate of its own.

Girshick et al., "Rich feature hierarchies", 2014; Yosinski et al., "How transferable are features in deep neural
networks?", 2014; different rates per part after Howard and Ruder, "Universal language model fine-tuning", 2018.
"""

from typing import Annotated, Literal, Self

from pydantic import Field
from torch import nn

from app.ml.configs.fields import Auto, Real
from app.ml.interfaces import Backbone, Decision, ParamGroup, ResolutionContext
from app.ml.kinds.strategies.base import StrategyConfig


class Full(StrategyConfig):
    """Train everything."""

    caches_features = False
    kind: Literal["full"] = "full"
    backbone_lr_scale: Auto[Annotated[Real, Field(gt=0, le=100)]] = Field(
        "auto", description="The backbone's learning rate, as a multiple of the heads'."
    )

    def resolve(self, context: ResolutionContext) -> tuple[Self, tuple[Decision, ...]]:
        """A pretrained backbone moves at a tenth of the heads' rate, a new one at theirs."""
        if self.backbone_lr_scale != "auto":
            return self, ()
        scale = 0.1 if context.pretrained else 1.0
        reason = "the backbone is pretrained, the heads are new" if context.pretrained else "everything is new"
        decision = Decision(field="backbone_lr_scale", value=scale, reason=reason)
        return self.model_copy(update={"backbone_lr_scale": scale}), (decision,)

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads, and the backbone at its own rate."""
        assert self.backbone_lr_scale != "auto"
        return [
            ParamGroup(list(heads.parameters())),
            ParamGroup(list(backbone.parameters()), self.backbone_lr_scale),
        ]
