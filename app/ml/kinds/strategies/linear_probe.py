"""A linear probe: the backbone is frozen, only the heads learn, on its features.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017: layers before the last often
tell more. Since the features of a row never change, they are computed once and kept. Linear heads are solved for: their
L2-regularised optimum, the penalty's strength by cross-validation on the labelled train rows alone, so that
validation rows stay an honest measure.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from app.ml.errors import ConfigError
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, Choices, ParamGroup, ResolutionContext
from app.ml.kinds.strategies.base import StrategyConfig, StrategyRequest
from app.ml.kinds.strategies.layers import layer_widths, layered_features

_MAX_ROWS = 200_000  # solving keeps all rows' features in memory, twice


LayerIndex = Annotated[Integer, Field(ge=0, le=999)]


class LinearProbe(StrategyRequest):
    """Train the heads on the frozen backbone's features."""

    kind: Literal["linear_probe"] = "linear_probe"
    layer: Literal["auto", "best", "last", "all"] | LayerIndex = Field(
        "auto",
        description="Whose features the heads get: the last layer's, all layers', those of one by its index, or of the "
        "best in cross-validation; auto: the best where heads are solved for, else the last.",
    )
    solver: Literal["auto", "gradient", "exact"] = Field(
        "auto",
        description="How heads learn: exact solves for linear ones, gradient trains; auto: exact where it can be.",
    )
    budget_seconds: Real = Field(
        30.0, ge=0, le=86_400, description="Computing time that the choice of the best layer may take."
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedLinearProbe]":
        """Return the class that adapts."""
        return ResolvedLinearProbe

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` where heads cannot be solved for, or a layer cannot be chosen."""
        solver = _solver(context)[0] if self.solver == "auto" else self.solver
        if solver == "exact" and not context.solvable:
            raise ConfigError(("solver",), "only linear heads with a convex loss are solved for: choose gradient")
        if solver == "gradient" and self.layer == "best":
            raise ConfigError(("layer",), "the best layer is found by solving: choose the solver exact, or a layer")
        if self.layer == "best" and not context.linear:
            raise ConfigError(("layer",), "the best layer is found for linear heads: choose last, all or a layer")

    def choices(self, context: ResolutionContext) -> Choices:
        """Solve where every head is linear and the rows are not too many."""
        solver = _solver(context)
        layer = _layer(solver[0] if self.solver == "auto" else self.solver, linear=context.linear)
        return {"solver": solver, "layer": layer}


class ResolvedLinearProbe(LinearProbe, StrategyConfig):
    """The same with a known solver; "best" is one layer once model selection has chosen it."""

    caches_features = True
    layer: Literal["best", "last", "all"] | LayerIndex
    solver: Literal["gradient", "exact"]

    @property
    def solving(self) -> Literal["never", "first", "only", "around"]:
        """Instead of all steps, where exact."""
        return "only" if self.solver == "exact" else "never"

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads alone."""
        return [ParamGroup(list(heads.parameters()))]

    def features(self, backbone: Backbone, inputs: Tensor) -> Tensor:
        """(B, *shape) to the chosen layer's (B, F), or all layers' side by side."""
        return layered_features(backbone, inputs, self._chosen)

    @property
    def source(self) -> str:
        """The chosen layer."""
        return str(self._chosen)

    def widths(self, backbone: Backbone) -> tuple[int, ...]:
        """Of the layers that `features` come from. Raises `ConfigError` where there is no such layer."""
        if self._chosen == "last":
            return (backbone.features,)
        widths = layer_widths(backbone)
        if self._chosen == "all":
            return widths
        if self._chosen >= len(widths):
            msg = f"the backbone has {len(widths)} layers: choose 0 to {len(widths) - 1}, last or all"
            raise ConfigError(("strategy", "layer"), msg)
        return (widths[self._chosen],)

    @property
    def _chosen(self) -> Literal["last", "all"] | int:
        """Until the best is chosen it is the last."""
        return "last" if self.layer == "best" else self.layer


def _solver(context: ResolutionContext) -> tuple[Literal["gradient", "exact"], str]:
    if not context.solvable:
        return "gradient", "not every head is linear with a convex loss"
    if context.train_rows > _MAX_ROWS:
        return "gradient", f"{context.train_rows} labelled rows are too many to keep all of their features at once"
    if not context.linear:
        return "exact", "estimators are fitted at once, and the settings of training do not matter"
    return "exact", "the heads are linear: they are solved for, and the settings of training do not matter"


def _layer(solver: str, *, linear: bool) -> tuple[Literal["best", "last"], str]:
    if solver == "exact" and linear:
        return "best", "chosen in cross-validation on the labelled train rows"
    return "last", "the backbone's features"
