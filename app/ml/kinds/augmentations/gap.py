"""Gaps: spans of a series are hidden, as if nothing had been observed.

DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017, in time; SpecAugment
(Park et al., 2019) masks spans of time alike.
"""

from typing import ClassVar, Literal

from pydantic import Field

from app.ml.fields import Integer, Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import lengths, spans, uniform, unless_emptied
from app.ml.spec import ModalityKind


class Gap(AugmentationConfig):
    """Hide spans of the series."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("series",)
    kind: Literal["gap"] = "gap"
    largest: Share = Field(0.25, description="Longest span, as a share of the series.")
    count: Integer = Field(1, ge=1, le=16, description="How many spans are hidden; they may overlap.")

    def apply(self, batch: Batch) -> Batch:
        """Series (B, C + 1, T): values and what was observed become 0."""
        inputs = batch.inputs
        length, changed = lengths(inputs), inputs
        for _ in range(self.count):
            hidden = spans(uniform(inputs, 0, self.largest), length, inputs.shape[2])
            changed = changed.masked_fill(hidden.unsqueeze(1), 0)
        return batch.with_inputs(unless_emptied(changed, inputs))
