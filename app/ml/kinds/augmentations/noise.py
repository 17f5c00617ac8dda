"""Gaussian noise, which for series is called jitter: x + strength * epsilon, epsilon ~ N(0, I).

Sietsma and Dow, "Creating artificial neural networks that generalize", 1991; Bishop, "Training with noise is
equivalent to Tikhonov regularization", 1995. Images stay within [0, 1]; the last channel of a series says what was
observed: it stays.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.blocks.shards import drawn_like
from app.ml.fields import Real
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import IMAGES, SERIES
from app.ml.spec import ModalityKind


class Noise(AugmentationConfig):
    """Add gaussian noise to every value; of series: jitter."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    kind: Literal["noise"] = "noise"
    strength: Real = Field(0.1, ge=0, le=100, description="The noise's standard deviation, in units of encoded values.")

    def apply(self, batch: Batch) -> Batch:
        """Shapes stay."""
        inputs = batch.inputs
        noise = self.strength * drawn_like(torch.randn_like, inputs)
        if inputs.ndim == SERIES:
            noise = noise * inputs[:, -1:]  # what was not observed stays 0
            noise[:, -1] = 0
        noisy = inputs + noise
        return batch.with_inputs(noisy.clamp(0, 1) if inputs.ndim == IMAGES else noisy)
