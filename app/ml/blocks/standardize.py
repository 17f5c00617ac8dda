"""Standardisation by fitted buffers."""

from collections.abc import Sequence

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

    @torch.no_grad()
    def fit_together(self, values: Tensor, widths: Sequence[int]) -> None:
        """Take the mean, and one deviation for each part of (N, F), of `widths` that add up to F.

        Scaled one by one, features that a backbone has given up (the collapsed dimensions of a VAE) would become
        noise as loud as the rest. Every part gets the same variance in all, so that none drowns the others, and the
        features together F.
        """
        self.mean.copy_(values.mean(0))
        variances = [part.sum() for part in torch.split(values.var(0, correction=0), list(widths))]
        fair = values.shape[1] / len(variances)
        stds = [torch.where(variance > 0, variance / fair, 1.0).sqrt() for variance in variances]
        self.std.copy_(torch.cat([std.expand(width) for std, width in zip(stds, widths, strict=True)]))

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
