"""Automatic: the strategy is chosen in the trainer by cross-validation on the labelled train rows.

Which strategy is best depends on how many labels there are and how near they are to what the backbone knows. So the
candidates are trained and measured on the same folds, as far as the budget goes. A more expensive one is taken
only where it is better by more than a standard error. The budget is time that is computed, not measured:
operations at 2e10 a second, about what one core does. So the same data always give the same choice.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from app.ml.errors import ConfigError
from app.ml.fields import Real
from app.ml.interfaces import Backbone, ParamGroup, ResolutionContext
from app.ml.kinds.strategies.base import StrategyConfig

Candidate = Literal["linear_probe", "lp_ft", "full"]


class Automatic(StrategyConfig):
    """Try several strategies and take the one with the best cross-validated score."""

    caches_features = True  # until something is chosen it is like a linear probe on the last layer
    selects_strategy = True
    kind: Literal["automatic"] = "automatic"
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=3)] = Field(
        ("linear_probe", "lp_ft", "full"), description="What is tried, the preferred one first."
    )
    budget_seconds: Real = Field(
        60.0, ge=0, le=86_400, description="Computing time that the choice may take, at 2e10 operations a second."
    )

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` where the heads cannot be solved for."""
        if not context.solvable:
            raise ConfigError(("kind",), "only linear heads with a convex loss are solved for: choose full")

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads."""
        return [ParamGroup(list(heads.parameters()))]
