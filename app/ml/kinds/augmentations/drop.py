"""Random deletion: every token is, with a probability, left out, and the text closes up.

Wei and Zou, "EDA: easy data augmentation techniques for boosting performance on text classification tasks", 2019.
"""

from typing import ClassVar, Literal

from pydantic import Field

from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.interfaces.tokenizer import PADDING
from app.ml.kinds.augmentations.primitives import chance, tokens
from app.ml.spec import ModalityKind


class Drop(AugmentationConfig):
    """Leave out some tokens; also called deletion."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text",)
    kind: Literal["drop"] = "drop"
    share: Share = Field(0.1, description="Share of the tokens that are left out; a text never loses all of them.")

    def apply(self, batch: Batch) -> Batch:
        """Codes (B, T) in their order; begin and end stay, padding grows."""
        inputs = batch.inputs
        dropped = chance(inputs, self.share, inputs.shape[1]) & tokens(inputs)
        # A text that would lose all tokens keeps all.
        dropped &= (tokens(inputs) & ~dropped).any(1, keepdim=True)
        # A stable sort by "dropped" moves what is left to the front, in order; the dropped become padding behind it.
        kept_first = dropped.byte().sort(dim=1, stable=True).indices
        return batch.with_inputs(inputs.masked_fill(dropped, PADDING).gather(1, kept_first))
