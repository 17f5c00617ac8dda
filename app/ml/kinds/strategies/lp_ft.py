"""LP-FT: first a linear probe, then full fine-tuning from it.

Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution", 2022: heads that start
at random push the backbone about before they know anything; heads that start at the probe's optimum do not. The probe
is solved for on the backbone's features, its penalty by cross-validation on the labelled train rows. Stages near the
input may stay as they are, which is faster and as good where labels are few; heads may be solved for once more at the
end, on the features that they were trained towards.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from app.ml.errors import ConfigError
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, ParamGroup, ResolutionContext
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.parameter_groups import parameter_groups


class LpFt(StrategyConfig):
    """Solve for the heads, then train everything."""

    caches_features = False
    kind: Literal["lp_ft"] = "lp_ft"
    lr_scale: Annotated[Real, Field(gt=0, le=100)] = Field(
        0.03, description="Rate of all parameters in the second part, as a multiple of the learning rate."
    )

    frozen: Integer = Field(
        0, ge=0, le=999, description="Stages of the backbone, from the input, that stay as they are."
    )
    again: bool = Field(
        default=False, strict=True, description="Whether the heads are solved for once more when everything is trained."
    )

    @property
    def solving(self) -> Literal["never", "first", "only", "around"]:
        """Before the first step, and maybe after the last."""
        return "around" if self.again else "first"

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` where the heads cannot be solved for."""
        if not context.solvable:
            raise ConfigError(("kind",), "only linear heads with a convex loss are solved for: choose full")

    def adapt(self, backbone: Backbone) -> Backbone:
        """Change nothing. Raises `ConfigError` where more stages are to be frozen than there are."""
        stages = len(backbone.stages())
        if self.frozen > stages:
            raise ConfigError(("strategy", "frozen"), f"the backbone has {stages} stages: freeze 0 to {stages} of them")
        return backbone

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """Everything that is not frozen at one small rate: the heads have arrived already."""
        frozen = {id(parameter) for stage in backbone.stages()[: self.frozen] for parameter in stage}
        trained = [parameter for parameter in backbone.parameters() if id(parameter) not in frozen]
        return parameter_groups([*heads.parameters(), *trained], self.lr_scale)
