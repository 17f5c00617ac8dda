"""Standardisation by fitted buffers."""

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """(x - mean) / std per feature, (B, F) to (B, F); the identity until fitted."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take mean and deviation over the rows of (N, F)."""
        self.mean.copy_(values.mean(0))
        self.std.copy_(floored_std(values))

    def forward(self, values: Tensor) -> Tensor:
        """(B, F) to (B, F)."""
        return (values - self.mean) / self.std


def floored_std(values: Tensor) -> Tensor:
    """Deviation per feature (F,) of (N, F), at least a hundredth of the typical one.

    Without the floor a feature nearly dead on the train rows would become a giant on others. 1 where nothing moves.
    """
    std = values.std(0, correction=0)
    typical = std.square().mean().sqrt()
    floored = std.clamp(min=0.01 * typical)
    return torch.where(floored > 0, floored, torch.ones_like(floored))
