"""Shift by a random number of whole pixels or steps.

Images: LeCun et al., "Gradient-based learning applied to document recognition", 1998; what comes in is black. Series go
round within their own length, so that no value is lost, as the shifts of Greydanus' MNIST-1D (2020).
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import SERIES, affine_maps, affine_warp, lengths, uniform
from app.ml.spec import ModalityKind


class Shift(AugmentationConfig):
    """Move the image up, down and sideways, or the series in time."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "series")
    kind: Literal["shift"] = "shift"
    share: Share = Field(0.1, description="Farthest move, as a share of the image's side or the series' length.")

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W) or series (B, C + 1, T)."""
        inputs = batch.inputs
        return batch.with_inputs(self._rolled(inputs) if inputs.ndim == SERIES else self._moved(inputs))

    def _moved(self, images: Tensor) -> Tensor:
        # Whole pixels, so that nothing is blurred; a pixel is 2 / side in coordinates from -1 to 1.
        sides = images.new_tensor([images.shape[3], images.shape[2]])
        pixels = (uniform(images, -1, 1, 2) * self.share * sides).round()
        return affine_warp(images, affine_maps(torch.ones_like(pixels), 2 * pixels / sides))

    def _rolled(self, series: Tensor) -> Tensor:
        length = lengths(series).unsqueeze(1)
        steps = (uniform(series, -1, 1, 1) * self.share * length).round()
        places = torch.arange(series.shape[2], device=series.device)
        # Steps behind the end of the row (padding) stay where they are.
        rolled = torch.where(places < length, (places + steps) % length, places).long()
        return series.gather(2, rolled.unsqueeze(1).expand_as(series))
