"""Random convolution kernels for series, written apart from the service's: neither can hide the other's faults.

ROCKET (Dempster, Petitjean and Webb, 2020), with dilations that are powers of 2: of each kernel the greatest value
and the share of positive values, over the steps of the row alone where rows are of unequal length. Half of the kernels
see each row standardised by itself, as published, and half see all rows on one scale: where it matters how large
values are, the former are blind, and where rows differ in it without a meaning the latter.
"""

from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, TransformerMixin
from sources import Array

MAX_KERNELS = 2500  # of each view
_MAX_VALUES = 0.75e9  # that kernels make of some usual rows, or of the rows to learn from where they are more
_USUAL_ROWS = 1000
_FLAT = 1e-9
LENGTHS = (7, 9, 11)
_AT_ONCE = 1 << 24  # values of a block


class RandomKernels(TransformerMixin, BaseEstimator):
    """Series, a list of N arrays (T, C), to features (N, 2 K)."""

    def fit(self, rows: list[Array], y: Array | None = None) -> Self:
        """Draw kernels for both views of the rows, and find each channel's mean and deviation."""
        values = np.concatenate(rows)
        self.mean, self.scale = values.mean(0), values.std(0) + _FLAT
        self.views = [_Kernels(seed).fit(view) for seed, view in enumerate(self._views(rows))]
        return self

    def transform(self, rows: list[Array]) -> Array:
        """Return the greatest values and the shares of positive ones."""
        return np.hstack([kernels.transform(view) for kernels, view in zip(self.views, self._views(rows), strict=True)])

    def _views(self, rows: list[Array]) -> list[list[Array]]:
        together = [(row - self.mean) / self.scale for row in rows]
        return [together, [(row - row.mean(0)) / (row.std(0) + _FLAT) for row in rows]]


class _Kernels:
    """The kernels of one view."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, rows: list[Array]) -> Self:
        """Draw kernels for the longest row."""
        random = np.random.default_rng(self.seed)
        longest, channels = max(map(len, rows)), rows[0].shape[1]
        groups: dict[tuple[int, int], list[tuple[Array, float]]] = {}
        kernels = min(MAX_KERNELS, int(_MAX_VALUES / (max(_USUAL_ROWS, len(rows)) * longest)))
        for _ in range(kernels):
            length = int(random.choice(LENGTHS))
            octaves = int(np.log2(max(1, (longest - 1) / (length - 1))))
            weights = random.normal(size=(channels, length))
            weights -= weights.mean(1, keepdims=True)
            some = random.permutation(channels)[: int(2 ** random.uniform(0, np.log2(channels + 1)))]
            weights[np.setdiff1d(np.arange(channels), some)] = 0
            groups.setdefault((length, 2 ** int(random.integers(octaves + 1))), []).append(
                (weights, random.uniform(-1, 1))
            )
        self.groups = {
            key: (torch.tensor(np.array([weights for weights, _ in group]), dtype=torch.float32), [b for _, b in group])
            for key, group in groups.items()
        }
        return self

    def transform(self, rows: list[Array]) -> Array:
        """Return the greatest values and the shares of positive ones."""
        return np.concatenate([self._features(rows, *item) for item in self.groups.items()], axis=1)

    def _features(self, rows: list[Array], key: tuple[int, int], kernels: tuple[torch.Tensor, list[float]]) -> Array:
        dilation, (weights, biases) = key[1], kernels
        longest, bias = max(map(len, rows)), torch.tensor(biases)
        size = max(1, _AT_ONCE // (longest * len(biases)))
        blocks = []
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            values = torch.zeros(len(block), weights.shape[1], longest)
            observed = torch.zeros(len(block), 1, longest, dtype=torch.bool)
            for place, mask, row in zip(values, observed, block, strict=True):
                place[:, : len(row)] = torch.from_numpy(row).T
                mask[:, : len(row)] = True
            convolved = F.conv1d(values, weights, bias, padding="same", dilation=dilation)
            positive = ((convolved > 0) & observed).sum(2) / observed.sum(2)
            greatest = convolved.masked_fill(~observed, -torch.inf).amax(2)
            blocks.append(torch.cat([positive, greatest], 1))
        return torch.cat(blocks).numpy()
