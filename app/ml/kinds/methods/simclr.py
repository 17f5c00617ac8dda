"""SimCLR: two views of a row are to be more alike than those of any two rows (NT-Xent).

Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive learning of visual representations", 2020.
With z_1 ... z_2N the projected views of N rows, s the cosine and i, j two views of one row:
    l(i, j) = -log( exp(s(z_i, z_j) / tau) / sum over k != i of exp(s(z_i, z_k) / tau) )
averaged over all 2N ordered pairs. The projection is thrown away afterwards: the backbone's features are kept.
A batch of one row has no other row to compare with: its loss is 0.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from app.ml.blocks.precision import full_precision
from app.ml.blocks.projection_head import projection_head
from app.ml.blocks.shards import all_rows
from app.ml.fields import Integer, Real
from app.ml.interfaces import AugmentationConfig, Backbone, Batch, Losses, MethodConfig, Objective, ResolutionContext
from app.ml.interfaces.values import TrainingDefaults
from app.ml.kinds.methods.views import TRAINING_DEFAULTS, default_views
from app.ml.spec import ModalityKind


class SimClr(MethodConfig):
    """Learn to recognise a row behind two random views of it, among the others of the batch."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    compares_views: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = True
    backbone_passes: ClassVar[int] = 2  # one for each view
    kind: Literal["simclr"] = "simclr"
    temperature: Real = Field(0.2, ge=0.01, le=10, description="Tau: the smaller, the more the nearest rows count.")
    hidden: Integer = Field(256, ge=1, le=8192, description="Width of the projection's hidden layer.")
    projection: Integer = Field(128, ge=1, le=8192, description="Dimensions in which views are compared.")

    def default_views(self, context: ResolutionContext) -> tuple[AugmentationConfig, ...]:
        """Light ones, per modality."""
        return default_views(context)

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """Longer trainings than for reconstruction, a higher rate, and native precision."""
        return TRAINING_DEFAULTS

    def build(self, backbone: Backbone) -> "SimClrObjective":
        """Put the projection behind the backbone."""
        return SimClrObjective(self, backbone)


class SimClrObjective(Objective):
    """Reports loss, and accuracy: how often a view's nearest other view is its partner."""

    compares_rows = True

    def __init__(self, config: SimClr, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.projector = projection_head(backbone.features, config.hidden, config.projection)

    def training_loss(self, batch: Batch) -> Losses:
        """As `loss`, which draws the views itself."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss and accuracy, over two views of every row."""
        # (2B, *shape): first views of all rows, then second views, through the backbone in one pass.
        views = torch.cat([self.augmented(batch).inputs, self.augmented(batch).inputs])
        projected = all_rows(self.projector(self.backbone(views)), views=2)
        logits = similarities(projected, self.config.temperature)
        # NT-Xent is a cross-entropy over the other 2B - 1 views, whose class is the partner.
        partners = partners_of(len(logits) // 2, views.device)
        accuracy = (logits.detach().argmax(1) == partners).float().mean()
        return {"loss": F.cross_entropy(logits, partners), "accuracy": accuracy}


def similarities(projected: Tensor, temperature: float) -> Tensor:
    """s(z_i, z_k) / tau, (2N, D) to (2N, 2N) in full precision; a view is never compared with itself."""
    with full_precision(projected.device):
        directions = F.normalize(projected.float(), dim=1)
        logits = directions @ directions.T / temperature
    # A view is most similar to itself: its own logit must not take part in the softmax.
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return logits.masked_fill(itself, -torch.inf)


def partners_of(rows: int, device: torch.device) -> Tensor:
    """Index of each view's partner, first views standing before second ones: int64 (2 * rows,)."""
    return torch.arange(2 * rows, device=device).roll(rows)
