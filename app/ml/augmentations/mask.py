"""Masking noise: every value of a table is, with a probability, set to 0, which is the column's mean.

Vincent et al., "Stacked denoising autoencoders", 2010.
"""

from typing import ClassVar, Literal

from pydantic import Field

from app.ml.augmentations.drawing import chance
from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.spec import ModalityKind


class Mask(AugmentationConfig):
    """Hide some values."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("table",)
    kind: Literal["mask"] = "mask"
    share: Share = Field(0.2, description="Share of the values that are hidden.")

    def apply(self, batch: Batch) -> Batch:
        """Rows (B, D)."""
        inputs = batch.inputs
        return batch.with_inputs(inputs.masked_fill(chance(inputs, self.share, inputs.shape[1]), 0))
