"""Normalisations of maps (B, C, H, W)."""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

NormName = Literal["batch", "group"]
_MAX_GROUPS, _MIN_IN_A_GROUP = 8, 4


class BatchNorm(nn.BatchNorm2d):
    """Over rows and pixels (Ioffe and Szegedy, 2015); a lone value, which has no variance, by the running figures."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W), the same out."""
        if self.training and input.numel() == self.num_features:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class ChannelNorm(nn.LayerNorm):
    """Over the channels at each place, after Ba, Kiros and Hinton, "Layer normalization", 2016: local contrast goes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W) or (B, C, T), the same out."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class ContrastConv2d(nn.Conv2d):
    """Weights have the mean 0 in each window, after Qiao et al., "Weight standardization", 2019: brightness goes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W) to (B, K, H', W')."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


def norm(name: NormName, channels: int) -> nn.Module:
    """A fresh one. Groups (Wu and He, 2018) are at most eight, and of at least four channels where there are four."""
    if name == "batch":
        return BatchNorm(channels)
    groups = math.gcd(channels, _MAX_GROUPS)
    while groups > 1 and channels // groups < _MIN_IN_A_GROUP:
        groups //= 2
    return nn.GroupNorm(groups, channels)
