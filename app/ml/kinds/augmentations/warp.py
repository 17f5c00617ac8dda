"""Time warping: a series runs at a randomly changing speed, from its first step to its last.

Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring", 2017. The speed's logarithm
is linear between random knots; step t shows the time that the speeds before it add up to, scaled so that the ends
stay.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from app.ml.blocks.shards import drawn
from app.ml.fields import Integer, Real
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import at_times, lengths
from app.ml.spec import ModalityKind


class Warp(AugmentationConfig):
    """Stretch some parts of the series and compress others."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("series",)
    kind: Literal["warp"] = "warp"
    strength: Real = Field(0.3, ge=0, le=3, description="Deviation of the speed's logarithm.")
    knots: Integer = Field(4, ge=2, le=100, description="How many speeds are drawn along the longest series.")

    def apply(self, batch: Batch) -> Batch:
        """Series (B, C + 1, T)."""
        inputs = batch.inputs
        return batch.with_inputs(at_times(inputs, self._times(inputs)))

    def _times(self, series: Tensor) -> Tensor:
        """Fractional steps (B, T), rising from 0 to the last observed step, beyond it unchanged."""
        steps = series.shape[2]
        # Log speeds at the knots (B, 1, K), interpolated to all steps (B, T).
        epsilon = drawn(lambda rows: torch.randn(rows, 1, self.knots, device=series.device), len(series))
        speeds = F.interpolate(self.strength * epsilon, steps, mode="linear", align_corners=True).squeeze(1).exp()
        # Time that has passed at each step, 0 at the first; rescaled so that the last observed step stays in place.
        passed = speeds.cumsum(1) - speeds[:, :1]
        last = lengths(series).unsqueeze(1) - 1
        whole = passed.gather(1, last.long()).clamp(min=1e-9)
        places = torch.arange(steps, device=series.device)
        return torch.where(places <= last, passed / whole * last, places)
