"""Mixup: x = lambda x_i + (1 - lambda) x_j and the same of the labels, lambda ~ Beta(alpha, alpha).

Zhang et al., "mixup: beyond empirical risk minimization", 2018. One lambda for a batch, as in the authors' code; the
loss is lambda times that of the row's own labels and 1 - lambda times its partner's.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.blocks.shards import all_rows, drawn, drawn_together
from app.ml.fields import Real
from app.ml.interfaces import AugmentationConfig, Batch, Mix
from app.ml.kinds.augmentations.primitives import SERIES
from app.ml.spec import ModalityKind


class Mixup(AugmentationConfig):
    """Blend every row with another one, labels too."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    mixes_labels: ClassVar[bool] = True
    kind: Literal["mixup"] = "mixup"
    alpha: Real = Field(
        0.2, ge=0, le=100, description="Beta's parameter; 0 mixes nothing, at 1 all shares are equally likely."
    )

    def apply(self, batch: Batch) -> Batch:
        """Inputs keep their shape and range; `mix` holds the partners and lambda."""
        if self.alpha == 0:
            return batch
        inputs = batch.inputs
        share = drawn_together(lambda: beta(self.alpha, inputs))
        # Partners are a permutation of the batch: every row is used twice.
        order = drawn(lambda rows: torch.randperm(rows, device=inputs.device), len(inputs))
        others = all_rows(inputs)[order]
        mixed = share * inputs + (1 - share) * others
        if inputs.ndim == SERIES:  # a step is observed where either was
            mixed[:, -1] = torch.maximum(inputs[:, -1], others[:, -1])
        return Batch(mixed, batch.targets, Mix(order, share.expand(len(inputs))))


def beta(alpha: float, like: Tensor) -> Tensor:
    """One draw of Beta(alpha, alpha), (1,) on the device of `like`."""
    concentration = torch.full((2,), alpha, device=like.device)
    return torch.distributions.Dirichlet(concentration, validate_args=False).sample()[:1]
