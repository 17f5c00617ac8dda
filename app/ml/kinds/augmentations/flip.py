"""Mirror images: left and right, or top and bottom, swapped with a probability.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import chance
from app.ml.spec import ModalityKind


class Flip(AugmentationConfig):
    """Mirror the image; not for pictures that mean something else in a mirror, such as letters."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    kind: Literal["flip"] = "flip"
    horizontal: Share = Field(0.5, description="How often left and right are swapped.")
    vertical: Share = Field(0.0, description="How often top and bottom are swapped.")

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W) stay in their range."""
        inputs = batch.inputs
        for axis, probability in ((3, self.horizontal), (2, self.vertical)):
            if probability > 0:
                inputs = torch.where(chance(inputs, probability, 1, 1, 1), inputs.flip(axis), inputs)
        return batch.with_inputs(inputs)
