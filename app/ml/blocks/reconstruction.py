"""Reconstruction errors over the values that were observed.

The last channel of a series (C + 1, T) says what was observed: steps that were not, and that channel itself, which is
no value, do not count. Images and tables count whole.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.blocks.shards import row_mean
from app.ml.interfaces import ResolutionContext
from app.ml.interfaces.values import TrainingDefaults

_FEW_VALUES = 64  # of a row: layers are so small that converting their numbers takes longer than multiplying them
_SERIES = 3  # dimensions of a batch (B, C + 1, T)


def reconstruction_defaults(context: ResolutionContext, weight_decay: float = 0.01) -> TrainingDefaults:
    """What a training that rebuilds rows starts from."""
    return TrainingDefaults(
        lr=1e-3,
        batches=100,
        steps=1000,
        min_epochs=5,
        max_epochs=300,
        weight_decay=weight_decay,
        precision="float32" if math.prod(context.shape) < _FEW_VALUES else "native",
        sums_values=True,
    )


def value_weights(inputs: Tensor) -> Tensor | None:
    """Weights of the values of (B, *shape): 1 where one was observed, else 0; None where all were."""
    if inputs.ndim != _SERIES:
        return None
    # The last channel is the mask of the others, and counts for nothing itself.
    values = inputs[:, -1:].expand(-1, inputs.shape[1] - 1, -1)
    return torch.cat([values, torch.zeros_like(inputs[:, -1:])], dim=1)


def half_squared_error(inputs: Tensor, reconstructions: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the batch of 1/2 sum w (x - r)^2; w is 1 where no weights are given. All (B, *shape), result ()."""
    reconstructions = reconstructions.to(inputs.dtype)
    # Summed over a row's values and averaged over rows: the scale on which penalties are published.
    if weights is None:
        return F.mse_loss(reconstructions, inputs, reduction="sum") / (2 * len(inputs))
    return (weights * (reconstructions - inputs).square()).sum() / (2 * len(inputs))


def mean_squared_error(half_error: Tensor, inputs: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean over the observed values of (B, *shape) of the squared error, of which rows have half the sum."""
    if weights is None:
        return 2 * half_error.detach() / inputs[0].numel()
    # Rows differ in how many values they have: both means are over the whole batch.
    error, values = row_mean(torch.stack([half_error.detach(), weights.sum() / len(inputs)])).unbind()
    return 2 * error / values.clamp(min=1)
