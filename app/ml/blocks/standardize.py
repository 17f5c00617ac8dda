"""Standardisation of features by a mean and a deviation that are kept as buffers."""

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
        """Set mean and deviation from the rows of (N, F)."""
        self.mean.copy_(values.mean(0))
        self.std.copy_(floored_std(values))

    @torch.no_grad()
    def fit_together(self, values: Tensor, widths: Sequence[int]) -> None:
        """Set the mean per feature, and a common deviation for each part of (N, F); `widths` of the parts add up to F.

        Scaled one by one, features that a backbone does not use (the collapsed dimensions of a VAE) would become
        noise as large as the rest. Every part gets the same total variance, so that none dominates, and the
        features together F.
        """
        self.mean.copy_(values.mean(0))
        # The summed variance of each part, (); a part then has the variance F / parts, whatever its width.
        variances = [part.sum() for part in torch.split(values.var(0, correction=0), list(widths))]
        share = values.shape[1] / len(variances)
        stds = [torch.where(variance > 0, variance / share, 1.0).sqrt() for variance in variances]
        self.std.copy_(torch.cat([std.expand(width) for std, width in zip(stds, widths, strict=True)]))

    def forward(self, values: Tensor) -> Tensor:
        """(B, F) to (B, F)."""
        return (values - self.mean) / self.std

    @torch.no_grad()
    def folded_into(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return weights (K, F) and biases (K,) that do as this and then the layer."""
        weight = layer.weight.double() / self.std.double()
        bias = layer.bias.double() - weight @ self.mean.double()
        return weight.to(layer.weight.dtype), bias.to(layer.bias.dtype)


def floored_std(values: Tensor) -> Tensor:
    """Standard deviation per feature (F,) of (N, F), at least a hundredth of the typical one.

    Without the floor a feature that hardly varies on the train rows could be huge on others. 1 where none varies.
    """
    std = values.std(0, correction=0)
    # Root mean square over the features: a few dead ones do not lower it.
    typical = std.square().mean().sqrt()
    floored = std.clamp(min=0.01 * typical)
    return torch.where(floored > 0, floored, torch.ones_like(floored))
