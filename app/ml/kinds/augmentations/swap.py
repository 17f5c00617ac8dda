"""Swap noise: every value is, with a probability, that of the same feature in another row of the batch.

Bahri et al., "SCARF: self-supervised contrastive learning using random feature corruption", 2022; Ucar, Hajiramezanali
and Edwards, "SubTab", 2021. Draws come from the feature's own distribution. Features are encoded ones: those of a
category are swapped one by one.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from app.ml.blocks.shards import all_rows, drawn
from app.ml.fields import Share
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.kinds.augmentations.primitives import chance
from app.ml.spec import ModalityKind


class Swap(AugmentationConfig):
    """Take some values from other rows."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("table",)
    kind: Literal["swap"] = "swap"
    share: Share = Field(0.3, description="Share of the values that come from other rows.")

    def apply(self, batch: Batch) -> Batch:
        """Rows (B, D)."""
        inputs = batch.inputs
        # Every value has a donor row of its own, in the same column; (B, D).
        width, device = inputs.shape[1], inputs.device
        donors = drawn(lambda rows: torch.randint(rows, (rows, width), device=device), len(inputs))
        swapped = torch.where(chance(inputs, self.share, width), all_rows(inputs).gather(0, donors), inputs)
        return batch.with_inputs(swapped)
