"""Gradual unfreezing: the heads train first, then the backbone joins them stage by stage from the top.

Howard and Ruder, "Universal language model fine-tuning for text classification", 2018: stages near the input hold what
is most general, and are the last to be let go.
"""

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from app.ml.fields import Real
from app.ml.interfaces import Backbone, ParamGroup
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.parameter_groups import parameter_groups


class GradualUnfreezing(StrategyConfig):
    """Train the heads, then one stage of the backbone after another."""

    caches_features = False
    kind: Literal["gradual_unfreezing"] = "gradual_unfreezing"
    share: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.5, description="Share of the training by which the last stage has joined; the stages join at equal distances."
    )
    backbone_lr_scale: Annotated[Real, Field(gt=0, le=100)] = Field(
        0.1, description="The backbone's learning rate, as a multiple of the heads'."
    )

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads, and the backbone at its own rate."""
        return [*parameter_groups(heads.parameters()), *parameter_groups(backbone.parameters(), self.backbone_lr_scale)]

    def begin(self, backbone: Backbone, step: int, total: int) -> None:
        """The i-th stage from the top of S joins after i / S of the share."""
        stages = backbone.stages()
        for index, stage in enumerate(reversed(stages), start=1):
            joined = step >= math.ceil(self.share * (total - 1) * index / len(stages))
            for parameter in stage:
                parameter.requires_grad_(joined)
