"""Only biases: the heads, and the backbone's vectors, that is its biases and the scales of its norms.

Ben Zaken, Ravfogel and Goldberg, "BitFit: simple parameter-efficient fine-tuning for transformer-based masked
language-models", 2022. The scales of norms are among them here: they are as few and move a channel as a whole.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from app.ml.fields import Real
from app.ml.interfaces import Backbone, ParamGroup
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.parameter_groups import parameter_groups


class BiasOnly(StrategyConfig):
    """Train the heads and the backbone's biases; its matrices and kernels stay."""

    caches_features = False
    keeps_statistics = True
    kind: Literal["bias_only"] = "bias_only"
    backbone_lr_scale: Annotated[Real, Field(gt=0, le=100)] = Field(
        0.1, description="The biases' learning rate, as a multiple of the heads'."
    )

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads, and every parameter of the backbone with at most one dimension."""
        vectors = [parameter for parameter in backbone.parameters() if parameter.ndim <= 1]
        return [*parameter_groups(heads.parameters()), *parameter_groups(vectors, self.backbone_lr_scale)]
