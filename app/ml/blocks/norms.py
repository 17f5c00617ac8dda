"""Normalisations of maps (B, C, H, W), and of features (B, C)."""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from app.ml.blocks.shards import batch_rows, is_shared, total

NormName = Literal["batch", "group"]
_MAX_GROUPS, _MIN_IN_A_GROUP = 8, 4


class BatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy, 2015) of features, over the whole of a batch that ranks share."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C), the same out."""
        if self.training and is_shared():
            return _normalised(self, input)
        return super().forward(input)


class BatchNorm(nn.BatchNorm2d):
    """The same of maps; it also takes a single value per channel in training."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W), the same out."""
        # One row of one pixel has no variance, which torch refuses: the running mean and variance are used.
        if self.training and batch_rows(input.numel()) == self.num_features:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if self.training and is_shared():
            return _normalised(self, input)
        return super().forward(input)


def _normalised(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
    """Normalise (b, C, ...) by mean and variance of the whole batch, and move the running ones.

    As torch's SyncBatchNorm, but on any device: two sums over the ranks, the second of squares around the mean, through
    which gradients flow (Peng et al., "MegDet: a large mini-batch object detector", 2018). In float32.
    """
    shape = (1, -1, *[1] * (values.ndim - 2))
    places = [dimension for dimension in range(values.ndim) if dimension != 1]
    count = batch_rows(values.numel()) // norm.num_features
    centred = values.float()
    mean = total(centred.sum(places)) / count  # (C,)
    centred = centred - mean.view(shape)
    variance = total(centred.square().sum(places)) / count  # (C,)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean.detach(), norm.momentum)
    norm.running_var.lerp_(variance.detach() * (count / (count - 1)), norm.momentum)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return (centred * scale.view(shape) + norm.bias.view(shape)).to(values.dtype)


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
