"""Scaling: every channel of a series times a random factor, e^(strength * epsilon), epsilon ~ N(0, 1).

Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring", 2017; with a log-normal
factor, so that a series is never turned upside down.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.blocks.shards import drawn
from app.ml.fields import Real
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.spec import ModalityKind


class Scale(AugmentationConfig):
    """Make every channel larger or smaller."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("series",)
    kind: Literal["scale"] = "scale"
    strength: Real = Field(0.2, ge=0, le=3, description="Deviation of the factor's logarithm.")

    def apply(self, batch: Batch) -> Batch:
        """Series (B, C + 1, T)."""
        inputs = batch.inputs
        channels, device = inputs.shape[1], inputs.device
        epsilon = drawn(lambda rows: torch.randn(rows, channels, 1, device=device), len(inputs))
        factors = (self.strength * epsilon).exp()
        factors[:, -1] = 1  # what was observed stays
        return batch.with_inputs(inputs * factors)
