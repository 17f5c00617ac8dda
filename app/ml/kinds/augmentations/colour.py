"""Colour jitter: brightness, contrast and saturation, each times a random factor of [1 - s, 1 + s].

Howard, "Some improvements on deep convolutional neural network based image classification", 2013. Brightness scales
every value; contrast moves values away from the image's mean grey; saturation moves colours away from their own grey.
Transparency (a second or fourth channel) stays.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import uniform
from app.ml.spec import ModalityKind

_LUMA = (0.299, 0.587, 0.114)  # how much red, green and blue count for grey, ITU-R BT.601
_COLOURED = 3
_WITH_TRANSPARENCY = (2, 4)


class Colour(AugmentationConfig):
    """Change brightness, contrast and saturation."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    kind: Literal["colour"] = "colour"
    brightness: Share = Field(0.4, description="Brightness is multiplied by 1 minus to 1 plus this.")
    contrast: Share = Field(0.4, description="Contrast likewise.")
    saturation: Share = Field(0.4, description="Saturation likewise; images of red, green and blue only.")

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W) stay in [0, 1]."""
        channels = batch.inputs.shape[1]
        colours = channels - 1 if channels in _WITH_TRANSPARENCY else channels
        images, rest = batch.inputs[:, :colours], batch.inputs[:, colours:]
        # Brightness, contrast, saturation in this order, each clamped to [0, 1].
        images = (images * _factor(images, self.brightness)).clamp(0, 1)
        images = _away_from(_grey(images).mean((1, 2, 3), keepdim=True), images, self.contrast)
        if colours == _COLOURED:
            images = _away_from(_grey(images), images, self.saturation)
        return batch.with_inputs(torch.cat([images, rest], dim=1))


def _factor(images: Tensor, strength: float) -> Tensor:
    return uniform(images, 1 - strength, 1 + strength, 1, 1, 1)


def _away_from(grey: Tensor, images: Tensor, strength: float) -> Tensor:
    return (grey + _factor(images, strength) * (images - grey)).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, H, W)."""
    if images.shape[1] != _COLOURED:
        return images.mean(1, keepdim=True)
    weights = images.new_tensor(_LUMA).view(1, _COLOURED, 1, 1)
    return (images * weights).sum(1, keepdim=True)
