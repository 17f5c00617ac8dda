"""Rows of one class are to be more alike than rows of different classes.

Khosla et al., "Supervised contrastive learning", 2020, equation 2 (the sum over positives outside the logarithm). With
z the projected views of length 1, two of every labelled row, P(i) the other views of i's class, A(i) all others:
    l(i, p) = -log( exp(z_i . z_p / tau) / sum over a in A(i) of exp(z_i . z_a / tau) )
    L_labels = mean over i of the mean over p in P(i) of l(i, p)
over the views that have another one of their class. The projection is thrown away afterwards.
"""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from app.ml.blocks.projection_head import projection_head
from app.ml.blocks.shards import all_rows
from app.ml.fields import Integer, Real
from app.ml.kinds.methods.simclr import similarities
from app.ml.kinds.supervision.base import LabelLoss, SupervisionConfig, SupervisionRequest, Weight, known
from app.ml.spec import TargetSpec


class Contrastive(SupervisionRequest):
    """Bring rows of one class together, and those of others apart."""

    kind: Literal["contrastive"] = "contrastive"
    temperature: Real = Field(0.1, ge=0.01, le=10, description="Tau: the smaller, the more the nearest rows count.")
    hidden: Integer = Field(256, ge=1, le=8192, description="Width of the projection's hidden layer.")
    projection: Integer = Field(128, ge=1, le=8192, description="Dimensions in which rows are compared.")

    @classmethod
    def resolved_type(cls) -> "type[ResolvedContrastive]":
        """Return the class that builds."""
        return ResolvedContrastive


class ResolvedContrastive(Contrastive, SupervisionConfig):
    """The same with a known weight."""

    weight: Weight

    def build(self, features: int, target: TargetSpec) -> "ContrastiveLoss":
        """Put a projection behind the features."""
        return ContrastiveLoss(self, features)


class ContrastiveLoss(LabelLoss):
    """Projected features, compared with each other."""

    views: ClassVar[int] = 2

    def __init__(self, config: ResolvedContrastive, features: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.projector = projection_head(features, config.hidden, config.projection)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, projection)."""
        return self.projector(features)  # type: ignore[no-any-return]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The supervised contrastive loss of the labelled rows; 0 where no two rows share a class."""
        outputs, labels = all_rows(outputs, self.views), all_rows(labels, self.views)
        carriers = known(labels)
        return class_contrast(outputs[carriers], labels[carriers], self.temperature)


def class_contrast(projected: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """The loss () of views (N, D) of classes int64 (N,)."""
    shares = similarities(projected, temperature).log_softmax(1)
    # Views of the same class, without the view itself; (N, N).
    partners = (classes[:, None] == classes).fill_diagonal_(fill_value=False)
    counts = partners.sum(1)
    costs = -shares.masked_fill(~partners, 0).sum(1) / counts.clamp(min=1)
    return costs.sum() / (counts > 0).sum().clamp(min=1)
