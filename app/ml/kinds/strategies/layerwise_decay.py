"""Layer-wise decay of the learning rate: the nearer a stage is to the input, the slower it moves.

    lr of stage s, counted from the top = lr * backbone_lr_scale * decay^s

Discriminative rates are from Howard and Ruder, "Universal language model fine-tuning", 2018; the geometric form as in
Clark et al., "ELECTRA", 2020, and Bao et al., "BEiT", 2022.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from app.ml.fields import Real
from app.ml.interfaces import Backbone, ParamGroup
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.parameter_groups import parameter_groups


class LayerwiseDecay(StrategyConfig):
    """Train everything, lower stages more slowly."""

    caches_features = False
    kind: Literal["layerwise_decay"] = "layerwise_decay"
    decay: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.75, description="Each stage's rate, as a multiple of the rate of the stage above it."
    )
    backbone_lr_scale: Annotated[Real, Field(gt=0, le=100)] = Field(
        0.1, description="The top stage's learning rate, as a multiple of the heads'."
    )

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads, then the stages from the top."""
        groups = parameter_groups(heads.parameters())
        for depth, stage in enumerate(reversed(backbone.stages())):
            groups += parameter_groups(stage, self.backbone_lr_scale * self.decay**depth)
        return groups
