"""Strategies: how a backbone is adapted to heads. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.strategies.automatic import Automatic
from app.ml.strategies.bias_only import BiasOnly
from app.ml.strategies.full import Full
from app.ml.strategies.gradual_unfreezing import GradualUnfreezing
from app.ml.strategies.layerwise_decay import LayerwiseDecay
from app.ml.strategies.linear_probe import LinearProbe
from app.ml.strategies.lora import Lora
from app.ml.strategies.lp_ft import LpFt

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
