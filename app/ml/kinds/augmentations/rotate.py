"""Rotation about the centre by a random angle; what comes in at the corners is black.

Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document analysis",
2003 (affine distortions).
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.fields import Real
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import affine_warp, uniform
from app.ml.spec import ModalityKind


class Rotate(AugmentationConfig):
    """Turn the image a little."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    kind: Literal["rotate"] = "rotate"
    degrees: Real = Field(15, ge=0, le=180, description="Largest angle, either way.")

    def apply(self, batch: Batch) -> Batch:
        """Images (B, C, H, W) stay in their range."""
        inputs = batch.inputs
        angle = uniform(inputs, -1, 1) * math.radians(self.degrees)
        sine, cosine, zero = angle.sin(), angle.cos(), torch.zeros_like(angle)
        aspect = inputs.shape[2] / inputs.shape[3]  # coordinates run from -1 to 1 along sides of unequal length
        # The inverse rotation per row, since the map says where a pixel's value comes from; (B, 6) to (B, 2, 3).
        rows = [cosine, -sine * aspect, zero, sine / aspect, cosine, zero]
        return batch.with_inputs(affine_warp(inputs, torch.stack(rows, dim=1).view(-1, 2, 3)))
