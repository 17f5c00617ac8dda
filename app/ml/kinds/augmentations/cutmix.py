"""CutMix: a rectangle of another row's image is pasted in, and the labels count by their shares of the area.

Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", 2019. The rectangle
has the image's aspect ratio and an area of 1 - lambda, lambda ~ Beta(alpha, alpha); one for a batch. Here it lies
wholly within the image; lambda is then counted from its pixels.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.blocks.shards import all_rows, drawn, drawn_together
from app.ml.fields import Real
from app.ml.interfaces import AugmentationConfig, Batch, Mix
from app.ml.kinds.augmentations.mixup import beta
from app.ml.kinds.augmentations.primitives import rectangles
from app.ml.spec import ModalityKind


class CutMix(AugmentationConfig):
    """Paste a piece of another image, labels by area."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    mixes_labels: ClassVar[bool] = True
    kind: Literal["cutmix"] = "cutmix"
    alpha: Real = Field(
        1.0, ge=0, le=100, description="Beta's parameter; 0 mixes nothing, at 1 all shares are equally likely."
    )

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W); `mix` holds the partners and lambda."""
        if self.alpha == 0:
            return batch
        inputs = batch.inputs
        part = drawn_together(lambda: self._part(inputs))
        order = drawn(lambda rows: torch.randperm(rows, device=inputs.device), len(inputs))
        # lambda is the area that stays, counted in pixels: sides were rounded to whole ones.
        mixed = torch.where(part, all_rows(inputs)[order], inputs)
        return Batch(mixed, batch.targets, Mix(order, (1 - part.float().mean()).expand(len(inputs))))

    def _part(self, images: Tensor) -> Tensor:
        """Draw the rectangle of a batch, as a mask (1, H, W)."""
        side = (1 - beta(self.alpha, images)).sqrt()
        return rectangles(side.view(1, 1).expand(1, 2), *images.shape[2:])
