"""Numbers that lie far from the others: most likely mistakes, which would rule a scale."""

from statistics import NormalDist

import torch
from torch import Tensor

_FAR = 100.0  # robust deviations from the median; a target that far out is most likely a mistake
_NORMAL_RANGE = 2 * NormalDist().inv_cdf(0.75)  # between the quartiles of a normal distribution of deviation 1
_MAX_SAMPLED = 1_000_000  # torch's quantile takes no more than 16 million numbers


def robust_scale(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return median and deviation of (n,), the deviation of a normal distribution with their interquartile range."""
    quartiles = torch.quantile(
        numbers[:: -(-len(numbers) // _MAX_SAMPLED)], torch.tensor([0.25, 0.5, 0.75]).to(numbers)
    )
    return quartiles[1], (quartiles[2] - quartiles[0]) / _NORMAL_RANGE


def count_far(numbers: Tensor) -> int:
    """Return how many of (n,) are over a hundred deviations from the median; none where half of them are equal."""
    if not len(numbers):
        return 0
    median, deviation = robust_scale(numbers)
    return int(((numbers - median).abs() > _FAR * deviation).sum()) if deviation > 0 else 0
