"""Window slicing: a piece of a series, stretched to its whole length.

Le Guennec, Malinowski and Tavenard, "Data augmentation for time series classification using convolutional neural
networks", 2016.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.fields import Real
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import at_times, lengths, uniform
from app.ml.spec import ModalityKind


class Window(AugmentationConfig):
    """Show a piece of the series, stretched to the series' length."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("series",)
    kind: Literal["window"] = "window"
    smallest: Real = Field(0.7, gt=0, le=1, description="Shortest piece, as a share of the series.")

    def apply(self, batch: Batch) -> Batch:
        """Series (B, C + 1, T)."""
        inputs = batch.inputs
        last = lengths(inputs).unsqueeze(1) - 1
        share = uniform(inputs, self.smallest, 1, 1)
        # The piece of length share * T begins at `first` and is read at `share` of the usual speed.
        first = uniform(inputs, 0, 1, 1) * (1 - share) * last
        places = torch.arange(inputs.shape[2], device=inputs.device)
        times = torch.where(places <= last, first + share * places, places)
        return batch.with_inputs(at_times(inputs, times))
