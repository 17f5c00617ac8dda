"""Normalisations of maps (B, C, H, W)."""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

NormName = Literal["batch", "group"]
_MAX_GROUPS, _MIN_IN_A_GROUP = 8, 4


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy, 2015) that also takes a single value per channel in training."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W), the same out."""
        # One row of one pixel has no variance, which torch refuses: the running mean and variance are used.
        if self.training and input.numel() == self.num_features:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each place (Ba, Kiros and Hinton, 2016): removes local contrast."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W) or (B, C, T), the same out."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class ContrastConv2d(nn.Conv2d):
    """A convolution whose windows have mean 0 ("Weight standardization", Qiao et al., 2019): ignores brightness."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W) to (B, K, H', W')."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


def norm(name: NormName, channels: int) -> nn.Module:
    """Build batch normalisation, or group normalisation (Wu and He, 2018): at most 8 groups, of 4 channels or more."""
    if name == "batch":
        return BatchNorm(channels)
    groups = math.gcd(channels, _MAX_GROUPS)
    # Groups of one or two channels would normalise most of their signal away.
    while groups > 1 and channels // groups < _MIN_IN_A_GROUP:
        groups //= 2
    return nn.GroupNorm(groups, channels)
