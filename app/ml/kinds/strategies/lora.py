"""LoRA: every matrix of the backbone gets a correction of low rank, and only the corrections train.

    W' = W + alpha / rank * B A,   A (rank, inputs), B (outputs, rank)

Hu et al., "LoRA: low-rank adaptation of large language models", 2022. A starts at random and B at zero, so that nothing
has changed before the first step. Convolutions count as matrices from a window to the channels; depthwise ones stay as
they are. The model that is kept has W' in the place of W: it costs no more than its parent.
"""

import copy
import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from app.ml.errors import ConfigError
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, ParamGroup
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.parameter_groups import parameter_groups


class Lora(StrategyConfig):
    """Train the heads and low-rank corrections of the backbone's matrices."""

    caches_features = False
    keeps_statistics = True
    kind: Literal["lora"] = "lora"
    rank: Integer = Field(8, ge=1, le=512, description="Rank of each correction; more than a matrix has is cut.")
    alpha: Annotated[Real, Field(gt=0, le=10_000)] = Field(
        16.0, description="Size of the corrections, which are multiplied with alpha / rank."
    )
    lr_scale: Annotated[Real, Field(gt=0, le=100)] = Field(
        0.1, description="The corrections' learning rate, as a multiple of the heads'."
    )

    def adapt(self, backbone: Backbone) -> Backbone:
        """Put a correction on every matrix. Raises `ConfigError` where there is none."""
        layers = [module for module in backbone.modules() if _is_matrix(module)]
        if not layers:
            raise ConfigError(("strategy", "kind"), "the backbone has no linear layer to correct: choose full")
        for layer in layers:
            correction = LowRank(layer.weight, self.rank, self.alpha / self.rank)  # type: ignore[arg-type]
            parametrize.register_parametrization(layer, "weight", correction)
        return backbone

    def merged(self, backbone: Backbone) -> Backbone:
        """Copy the backbone with W' in the place of W."""
        result = copy.deepcopy(backbone)
        for module in result.modules():
            if parametrize.is_parametrized(module, "weight"):
                _merge(module)
        return result

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads, and the corrections."""
        corrections = [module for module in backbone.modules() if isinstance(module, LowRank)]
        parameters = [parameter for correction in corrections for parameter in correction.parameters()]
        return [*parameter_groups(heads.parameters()), *parameter_groups(parameters, self.lr_scale)]


class LowRank(nn.Module):
    """W (O, ...) to W + scale * B A, in the same shape."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        outputs, inputs = weight.flatten(1).shape
        rank = min(rank, outputs, inputs)
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        # B starts at 0: before the first step the backbone computes what it did.
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The corrected weight, of the same shape."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)


def _merge(module: nn.Module) -> None:
    """Give back a plain layer; torch's own way would also change the class, which a copy shares with its original."""
    weight = nn.Parameter(module.weight.detach())  # type: ignore[operator]
    plain = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    module.__class__ = plain
    module.register_parameter("weight", weight)


def _is_matrix(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear)
