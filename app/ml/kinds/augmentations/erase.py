"""Random erasing: a rectangle of random area and shape is filled with noise or with black.

Zhong et al., "Random erasing data augmentation", 2017 (AAAI 2020): area uniform from 2 % on, aspect ratio up to 3.3.
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.blocks.shards import drawn_like
from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import chance, rectangles, uniform
from app.ml.spec import ModalityKind

_MIN_AREA, _STRETCH = 0.02, 3.3


class Erase(AugmentationConfig):
    """Cover a part of the image."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    kind: Literal["erase"] = "erase"
    probability: Share = Field(0.5, description="How often an image loses a part.")
    largest: Share = Field(0.33, description="Largest area of the part, as a share of the image.")
    fill: Literal["noise", "black"] = Field("noise", description="What the part shows; noise is uniform in [0, 1].")

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W) stay in [0, 1]."""
        inputs = batch.inputs
        # Area is uniform, the log of the aspect ratio too; sides are shares of the image, (B, 2).
        side = uniform(inputs, min(_MIN_AREA, self.largest), self.largest).sqrt()
        narrow = uniform(inputs, -1, 1).mul(math.log(_STRETCH) / 2).exp()
        part = rectangles(torch.stack([side / narrow, side * narrow], dim=1).clamp(max=1), *inputs.shape[2:])
        part = (part & chance(inputs, self.probability, 1, 1)).unsqueeze(1)
        filling = drawn_like(torch.rand_like, inputs) if self.fill == "noise" else torch.zeros_like(inputs)
        return batch.with_inputs(torch.where(part, filling, inputs))
