"""What backbones of random convolution kernels share: rows as they see them, dilations, and the scale of features.

Series are (B, C + 1, T); the last channel says which steps were observed.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.interfaces.values import ExampleSource

_MAX_DILATIONS, _DILATIONS_PER_OCTAVE = 32, 2
_GRID, _MAX_VALUE = 2.0**-30, 2.0**14  # of standardised values: with the sum over 81 weights that is 51 bits
_GRID_OF_MOMENTS = 2.0**-24  # their sums, and nearly those of their squares, are the same in any order
_MIN_DEVIATION = 2.0**-14  # of a row that is standardised by itself: a flat one stays flat
_MAX_ROWS = 1_000  # that thresholds and scales are taken from
_MIN_SHARE = 0.1  # of the median feature's deviation: one that hardly varies is not blown up


def split_channels(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, C + 1, T) to rounded values float64 (B, C, T), and which steps were observed (B, 1, T)."""
    return _rounded(inputs[:, :-1].double().clamp(-_MAX_VALUE, _MAX_VALUE), _GRID), inputs[:, -1:] > 0


def standardised(values: Tensor, observed: Tensor) -> Tensor:
    """Every channel of every row by its own mean and deviation over the observed steps, (B, C, T), else 0."""
    count = observed.sum(2, keepdim=True).clamp(min=1)
    coarse = _rounded(values, _GRID_OF_MOMENTS) * observed
    mean = _rounded(coarse.sum(2, keepdim=True) / count, _GRID_OF_MOMENTS)
    variance = ((coarse - mean).square() * observed).sum(2, keepdim=True) / count
    scaled = (values - mean) * observed / variance.sqrt().clamp(min=_MIN_DEVIATION)
    return _rounded(scaled.clamp(-_MAX_VALUE, _MAX_VALUE), _GRID)


def _rounded(values: Tensor, grid: float) -> Tensor:
    return (values / grid).round() * grid


def shifted(values: Tensor, dilation: int, taps: int) -> Tensor:
    """Move values by what each weight sees: (b, C, T) to (b, C * taps, T), 0 beyond both ends."""
    steps, reach = values.shape[2], taps // 2 * dilation
    padded = F.pad(values, (reach, reach))
    views = [padded[:, :, tap * dilation : tap * dilation + steps] for tap in range(taps)]
    return torch.stack(views, dim=2).flatten(1, 2)


def dilations_of(steps: int, taps: int, most: int) -> list[int]:
    """Return at most so many dilations, spread evenly by their logarithm, the widest kernel as long as the series."""
    octaves = math.log2(max(1.0, (steps - 1) / (taps - 1)))
    count = min(most, _MAX_DILATIONS, 1 + math.ceil(octaves * _DILATIONS_PER_OCTAVE))
    exponents = [octaves * index / max(1, count - 1) for index in range(count)]
    return sorted({int(2**exponent + 1e-9) for exponent in exponents})


def random_rows(examples: ExampleSource) -> Tensor:
    """Return some of the train rows, (n, C + 1, T)."""
    return examples.batch(torch.randperm(len(examples))[:_MAX_ROWS]).inputs


def weights_of(features: Tensor) -> Tensor:
    """Return what makes the features' deviations over rows (N, F) about equal, (F,)."""
    deviations = features.std(0, correction=0)
    positive = deviations[deviations > 0]
    if not len(positive):
        return torch.ones_like(deviations)
    return 1 / deviations.clamp(min=_MIN_SHARE * float(positive.median()))
