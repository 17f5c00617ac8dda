"""Strategies: how a backbone is adapted to heads. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.interfaces.resolvable import ResolvedKinds
from app.ml.kinds.strategies.automatic import Automatic
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.bias_only import BiasOnly
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.gradual_unfreezing import GradualUnfreezing
from app.ml.kinds.strategies.layerwise_decay import LayerwiseDecay
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.kinds.strategies.lora import Lora
from app.ml.kinds.strategies.lp_ft import LpFt

AnyStrategy = Annotated[
    LinearProbe
    | Full
    | LpFt
    | GradualUnfreezing
    | LayerwiseDecay
    | Lora
    | BiasOnly
    | Automatic,
    Field(discriminator="kind"),
]  # fmt: skip
ResolvedStrategy = Annotated[StrategyConfig, ResolvedKinds(AnyStrategy)]
