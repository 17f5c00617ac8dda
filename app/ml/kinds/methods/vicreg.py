"""VICReg: two views of a row agree, every dimension varies over the batch, and dimensions are uncorrelated.

Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for self-supervised learning", 2022.
With Z, Z' the projected views (N, D) of N rows:
    s(Z, Z') = 1/N sum_i ||z_i - z'_i||^2                      invariance
    v(Z)     = 1/D sum_j max(0, gamma - sqrt(Var(z_j) + eps))  variance, gamma = 1, eps = 1e-4
    c(Z)     = 1/D sum_{i != j} Cov(Z)_ij^2                    covariance
    loss     = lambda s(Z, Z') + mu (v(Z) + v(Z')) + nu (c(Z) + c(Z'))
Var and Cov divide by N - 1. A batch of one row has neither: only the invariance counts there.

As in the authors' code s is averaged over the D dimensions too: lambda = mu = 25, nu = 1 belong to that scale.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from app.ml.blocks.precision import full_precision
from app.ml.blocks.projection_head import projection_head
from app.ml.blocks.shards import all_rows
from app.ml.fields import Auto, Integer, Real
from app.ml.interfaces import (
    AugmentationConfig,
    Backbone,
    Batch,
    Choices,
    Losses,
    MethodConfig,
    MethodRequest,
    Objective,
    ResolutionContext,
)
from app.ml.interfaces.values import TrainingDefaults
from app.ml.kinds.methods.views import TRAINING_DEFAULTS, default_views
from app.ml.spec import ModalityKind

_GAMMA, _EPSILON = 1.0, 1e-4


Dimensions = Annotated[Integer, Field(ge=1, le=8192)]


class VicReg(MethodRequest):
    """Learn what two random views of a row share, without comparing rows with each other."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    compares_views: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = True
    backbone_passes: ClassVar[int] = 2  # one for each view
    kind: Literal["vicreg"] = "vicreg"
    invariance: Real = Field(25.0, ge=0, le=1e4, description="Lambda, the weight of the views' distance.")
    variance: Real = Field(25.0, ge=0, le=1e4, description="Mu, the weight of the hinge on each dimension's deviation.")
    covariance: Real = Field(1.0, ge=0, le=1e4, description="Nu, the weight of the squared covariances.")
    hidden: Integer = Field(512, ge=1, le=8192, description="Width of the projection's hidden layer.")
    projection: Auto[Dimensions] = Field("auto", description="Dimensions in which views are compared.")

    @classmethod
    def resolved_type(cls) -> "type[ResolvedVicReg]":
        """Return the class that builds."""
        return ResolvedVicReg

    def choices(self, context: ResolutionContext) -> Choices:
        """Set the projection to as many dimensions as the rows can keep uncorrelated."""
        projection = 2 ** max(4, min(9, math.floor(math.log2(context.train_rows))))
        reason = "a power of two up to 512: more dimensions than rows cannot all be uncorrelated"
        return {"projection": (projection, reason)}

    def default_views(self, context: ResolutionContext) -> tuple[AugmentationConfig, ...]:
        """Light ones, per modality."""
        return default_views(context)

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """Longer trainings than for reconstruction, a higher rate, and native precision."""
        return TRAINING_DEFAULTS


class ResolvedVicReg(VicReg, MethodConfig):
    """The same with a known width of the projection."""

    projection: Dimensions

    def build(self, backbone: Backbone) -> "VicRegObjective":
        """Put the projection (the paper's expander) behind the backbone."""
        return VicRegObjective(self, backbone)


class VicRegObjective(Objective):
    """Reports loss and its three parts, before their weights."""

    compares_rows = True

    def __init__(self, config: ResolvedVicReg, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.projector = projection_head(backbone.features, config.hidden, config.projection)

    def training_loss(self, batch: Batch) -> Losses:
        """As `loss`, which draws the views itself."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss, invariance, variance and covariance, over two views of every row."""
        # (2B, *shape): first views of all rows, then second views, through the backbone in one pass.
        views = torch.cat([self.augmented(batch).inputs, self.augmented(batch).inputs])
        projected = all_rows(self.projector(self.backbone(views)), views=2)
        with full_precision(projected.device):
            first, second = projected.float().chunk(2)  # (B, D) each; covariances of bfloat16 would be noise
            invariance = F.mse_loss(first, second)
            variance = variance_loss(first) + variance_loss(second)
            covariance = covariance_loss(first) + covariance_loss(second)
        weights = self.config
        loss = weights.invariance * invariance + weights.variance * variance + weights.covariance * covariance
        parts = {"invariance": invariance, "variance": variance, "covariance": covariance}
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}


def variance_loss(projected: Tensor) -> Tensor:
    """v(Z) of (N, D), (); 0 for a single row."""
    if len(projected) == 1:
        return projected.new_zeros(())
    return F.relu(_GAMMA - (projected.var(0) + _EPSILON).sqrt()).mean()


def covariance_loss(projected: Tensor) -> Tensor:
    """c(Z) of (N, D), (); 0 for a single row."""
    rows, dimensions = projected.shape
    if rows == 1:
        return projected.new_zeros(())
    # (D, D); the diagonal holds variances, which the other term keeps up.
    centred = projected - projected.mean(0)
    covariances = (centred.T @ centred / (rows - 1)).square()
    return (covariances.sum() - covariances.diagonal().sum()) / dimensions
