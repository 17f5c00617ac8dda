"""CutMix: a rectangle of another row's image is pasted in, and the labels count by their shares of the area.

Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", 2019. The rectangle
has the image's aspect ratio and an area of 1 - lambda, lambda ~ Beta(alpha, alpha); one for a batch. Here it lies
wholly within the image; lambda is then counted from its pixels.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

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
        side = (1 - beta(self.alpha, inputs)).sqrt()
        part = rectangles(side.view(1, 1).expand(1, 2), *inputs.shape[2:])
        order = torch.randperm(len(inputs), device=inputs.device)
        # lambda is the area that stays, counted in pixels: sides were rounded to whole ones.
        mixed = torch.where(part, inputs[order], inputs)
        return Batch(mixed, batch.targets, Mix(order, (1 - part.float().mean()).expand(len(inputs))))
