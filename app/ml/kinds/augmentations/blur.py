"""Gaussian blur of random width: y = G_v x G_h^T with normalised gaussian windows as matrices.

Chen et al., "A simple framework for contrastive learning of visual representations", 2020. Two small matrix products
serve a different width for every row, which a convolution cannot.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.fields import Real, Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import chance, uniform
from app.ml.spec import ModalityKind

_SHARPEST = 0.1  # pixels: a neighbour then weighs e^-50


class Blur(AugmentationConfig):
    """Blur the image."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    kind: Literal["blur"] = "blur"
    probability: Share = Field(0.5, description="How often an image is blurred.")
    widest: Real = Field(1.0, ge=0.1, le=100, description="Largest standard deviation of the blur, in pixels.")

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W) stay in their range."""
        inputs = batch.inputs
        # A row that is not blurred gets the narrowest window, which changes nothing; (B,).
        width = torch.where(chance(inputs, self.probability), uniform(inputs, _SHARPEST, self.widest), _SHARPEST)
        with torch.autocast(inputs.device.type, enabled=False):
            blurred = _windows(width, inputs.shape[2]) @ inputs @ _windows(width, inputs.shape[3]).mT
        return batch.with_inputs(blurred.clamp(0, 1))


def _windows(width: Tensor, size: int) -> Tensor:
    """Row i is the gaussian around pixel i, its sum 1: (B,) to (B, 1, size, size)."""
    places = torch.arange(size, device=width.device, dtype=width.dtype)
    distance = places.unsqueeze(0) - places.unsqueeze(1)
    # softmax of -d^2 / (2 w^2) is the gaussian window with sum 1, also at the borders.
    return torch.softmax(-0.5 * (distance / width.view(-1, 1, 1, 1)).square(), dim=3)
