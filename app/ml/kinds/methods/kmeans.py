"""K-means on patches: minimise the mean squared distance of whitened patches to the nearest centroid.

    loss = mean_i min_k |z_i - c_k|^2

Lloyd, "Least squares quantization in PCM", 1982; by the gradient on a batch at a time it is online k-means (Bottou and
Bengio, "Convergence properties of the k-means algorithms", 1995; Sculley, "Web-scale k-means clustering", 2010), which
for patches gives the features of Coates, Lee and Ng, 2011: see the backbone kmeans_patches. A centroid that has been
nearest to no patch for long moves to the patch of the batch that is farthest from all centroids.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.blocks.precision import full_precision
from app.ml.blocks.shards import all_rows
from app.ml.fields import Integer
from app.ml.interfaces import (
    Backbone,
    Batch,
    ExampleSource,
    Losses,
    MethodConfig,
    Objective,
    ParamGroup,
    ResolutionContext,
)
from app.ml.interfaces.abilities import Ability, Centroids
from app.ml.interfaces.values import TrainingDefaults
from app.ml.kinds.backbones.kmeans_patches import squared_distances
from app.ml.spec import ModalityKind

_ROWS_TO_WHITEN, _PATCHES_TO_WHITEN, _ROWS_AT_ONCE = 10_000, 100_000, 500
_MIN_SIDE, _MAX_SIDE = 4, 64  # of an image, in pixels
_APART = 0.1  # many patches are equal (all black, say): centroids begin at one and a little away from it
_PATIENCE = 200  # times K patches without being the nearest to any


class KMeans(MethodConfig):
    """Learn typical patches."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    needs: ClassVar[frozenset[Ability]] = frozenset({"centroids"})
    backbone_passes: ClassVar[int] = 0  # it averages patches
    kind: Literal["kmeans"] = "kmeans"
    patches_per_row: Integer = Field(16, ge=1, le=1024, description="Random patches of every image in a step.")

    def suits(self, context: ResolutionContext) -> bool:
        """Small images: of larger ones the few pixels of a patch say little."""
        sides = context.shape[:2]
        return max(sides) <= _MAX_SIDE and min(sides) >= _MIN_SIDE

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """Few steps at a high rate: a coordinate's typical size is 1. Nothing shrinks a centroid."""
        return TrainingDefaults(lr=0.05, batches=100, steps=300, min_epochs=1, max_epochs=300, weight_decay=0.0)

    def build(self, backbone: Backbone) -> "KMeansObjective":
        """Wrap the backbone; there is nothing else to learn."""
        return KMeansObjective(self, backbone)


class KMeansObjective(Objective):
    """Reports loss, and used, the share of centroids that were recently the nearest to some patch."""

    idle: Tensor

    def __init__(self, config: KMeans, backbone: Backbone) -> None:
        super().__init__()
        assert isinstance(backbone, Centroids)
        self.patches_per_row = config.patches_per_row
        self.backbone = backbone
        # Patches since each centroid was last the nearest to one.
        self.register_buffer("idle", torch.zeros(len(backbone.centroids), dtype=torch.int64))

    @property
    def learner(self) -> Centroids:
        """The backbone, typed by its ability."""
        assert isinstance(self.backbone, Centroids)
        return self.backbone

    def groups(self) -> list[ParamGroup]:
        """The centroids, without weight decay: their length matters."""
        return [ParamGroup(list(self.parameters()), decays=False)]

    @torch.no_grad()
    def fit(self, examples: ExampleSource) -> None:
        """Learn the whitening, and put the centroids on random patches."""
        order = torch.randperm(len(examples))[:_ROWS_TO_WHITEN]
        per_row = max(1, _PATCHES_TO_WHITEN // len(order))
        rows = (examples.batch(indices).inputs for indices in torch.split(order, _ROWS_AT_ONCE))
        patches = torch.cat([self.learner.draw_patches(indices, per_row) for indices in rows])
        self.learner.fit_whitening(patches)
        centroids = self.learner.centroids
        chosen = torch.randint(len(patches), (len(centroids),), device=patches.device)
        start = self.learner.whitened(patches[chosen])
        centroids.copy_(start + _APART * torch.randn_like(start))

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss, used."""
        return self._losses(self._patches(batch))

    def training_loss(self, batch: Batch) -> Losses:
        """The loss of the augmented batch, after dead centroids were moved."""
        patches = self._patches(self.augmented(batch))
        # (B, K, D) of the whole batch: every rank moves the same centroids to the same places.
        self._revive(all_rows(patches.view(-1, self.patches_per_row, patches.shape[1])).flatten(0, 1))
        return self._losses(patches)

    def _patches(self, batch: Batch) -> Tensor:
        """Whitened patches (N, D)."""
        return self.learner.whitened(self.learner.draw_patches(batch.inputs, self.patches_per_row))

    def _losses(self, patches: Tensor) -> Losses:
        with full_precision(patches.device):
            distances = squared_distances(patches, self.learner.centroids).min(1).values
        return {"loss": distances.clamp(min=0).mean(), "used": (self.idle < self._patience).float().mean()}

    @property
    def _patience(self) -> int:
        return _PATIENCE * len(self.idle)

    @torch.no_grad()
    def _revive(self, patches: Tensor) -> None:
        """Count patches since each centroid was nearest, and move dead centroids. No value is read: no device waits."""
        centroids = self.learner.centroids
        distances, nearest = squared_distances(patches, centroids).min(1)
        is_nearest = torch.zeros_like(self.idle, dtype=torch.bool).index_fill(0, nearest, value=True)
        self.idle.copy_(torch.where(is_nearest, 0, self.idle + len(patches)))
        # A centroid of which no patch is the nearest gets no gradient, and would stay where it is for ever.
        dead = self.idle >= self._patience
        farthest = distances.argsort(descending=True, stable=True)
        turns = (dead.cumsum(0) - 1).clamp(0, len(patches) - 1)  # dead centroid i goes to the i-th farthest patch
        centroids.copy_(torch.where(dead[:, None], patches[farthest[turns]], centroids))
        self.idle.masked_fill_(dead, 0)
