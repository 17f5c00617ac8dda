"""Masking noise: every value of a table is, with a probability, set to 0, its column's mean; a token becomes the mask.

Vincent et al., "Stacked denoising autoencoders", 2010; for tokens Devlin et al., "BERT", 2019.
"""

from typing import ClassVar, Literal

from pydantic import Field

from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.interfaces.tokenizer import MASK
from app.ml.kinds.augmentations.primitives import chance, tokens
from app.ml.spec import ModalityKind


class Mask(AugmentationConfig):
    """Hide some values or tokens."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("table", "text")
    kind: Literal["mask"] = "mask"
    share: Share = Field(0.2, description="Share of the values or tokens that are hidden.")

    def apply(self, batch: Batch) -> Batch:
        """Rows (B, D), or codes (B, T), of which begin, end and padding stay."""
        inputs = batch.inputs
        hidden = chance(inputs, self.share, inputs.shape[1])
        if inputs.is_floating_point():
            return batch.with_inputs(inputs.masked_fill(hidden, 0))
        return batch.with_inputs(inputs.masked_fill(hidden & tokens(inputs), MASK))
