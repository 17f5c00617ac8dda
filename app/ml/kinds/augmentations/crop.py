"""Random resized crop: a piece of random area and shape, stretched to the whole image.

Szegedy et al., "Going deeper with convolutions", 2015: area uniform, log of the aspect ratio uniform.
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.fields import Real
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import affine_maps, affine_warp, uniform
from app.ml.spec import ModalityKind


class Crop(AugmentationConfig):
    """Show a piece of the image, stretched to the image's size."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    kind: Literal["crop"] = "crop"
    smallest: Real = Field(0.5, gt=0, le=1, description="Smallest area of the piece, as a share of the image.")
    stretch: Real = Field(4 / 3, ge=1, le=4, description="Most that a piece's width is divided by its height, or back.")

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W) stay in their range."""
        inputs = batch.inputs
        # Area is uniform, the log of the aspect ratio too; sides are shares of the image, (B,).
        side = uniform(inputs, self.smallest, 1).sqrt()
        narrow = uniform(inputs, -1, 1).mul(math.log(self.stretch) / 2).exp()
        scale = torch.stack([side * narrow, side / narrow], dim=1).clamp(max=1)
        # Coordinates run from -1 to 1: a window of half-width s fits for centres in [s - 1, 1 - s].
        offset = uniform(inputs, -1, 1, 2) * (1 - scale)
        return batch.with_inputs(affine_warp(inputs, affine_maps(scale, offset), "border"))
