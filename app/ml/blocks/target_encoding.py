"""Features of categories in which each category's are replaced by what it predicts, as a table of numbers."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from app.ml.blocks.arrays import Array, ArrayLayer, HasArrayLayer
from app.ml.errors import ConfigError
from app.ml.interfaces.values import CategoryFeatures, Rows
from app.ml.solvers.target_encoding import Codes, Doubles, category_means, cross_fitted

_IS_SET = 0.5


class TargetEncoding(HasArrayLayer, nn.Module):
    """(B, F) to (B, F'): the features of other columns, and V numbers for each of the encoded ones, in their order.

    A row without any of a column's categories gets the mean of all train rows.
    """

    prior: Tensor  # (D, V) of D columns
    effects: Tensor  # (C, V) of all their categories, one column after the other

    def __init__(self, columns: Sequence[CategoryFeatures], features: int, values: int) -> None:
        super().__init__()
        self.columns = sorted(columns, key=lambda column: column.first)
        bounds = [0, *(bound for column in self.columns for bound in (column.first, column.end)), features]
        if any(first > end for first, end in pairwise(bounds)):
            msg = f'target_encoding names features that are not among {features}, or twice: send "best", or [] for none'
            raise ConfigError(("heads",), msg)
        self._others = list(zip(bounds[::2], bounds[1::2], strict=True))
        self.width = sum(end - first for first, end in self._others) + values * len(self.columns)
        self._counts = [column.end - column.first for column in self.columns]
        self.register_buffer("prior", torch.zeros(len(self.columns), values))
        self.register_buffer("effects", torch.zeros(sum(self._counts), values))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, F')."""
        others = [features[:, first:end] for first, end in self._others]
        effects = torch.split(self.effects, self._counts)
        # At most one category of a row is 1, so that the product is exact, and the same in any batch.
        encoded = [
            self.prior[index] + features[:, column.first : column.end] @ effects[index]
            for index, column in enumerate(self.columns)
        ]
        return torch.cat([*others, *encoded], dim=1)

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy."""
        prior = self.prior.numpy()
        effects = [part.numpy() for part in torch.split(self.effects, self._counts)]

        def layer(features: Array) -> Array:
            return self._joined(
                features,
                [
                    prior[index] + features[:, column.first : column.end] @ effects[index]
                    for index, column in enumerate(self.columns)
                ],
            )

        return layer

    def fit(self, features: Rows, values: Doubles, weights: Doubles, seed: int) -> Rows:
        """Learn from train rows (n, F) with values (n, V), NaN being unknown, weighted by (n,).

        Returns the rows (n, F'), each encoded without its own value.
        """
        encoded, learned = [], []
        for index, (column, count) in enumerate(zip(self.columns, self._counts, strict=True)):
            codes = _codes(features[:, column.first : column.end])
            learned.append(category_means(codes, values, weights, count))
            encoded.append(cross_fitted(codes, values, weights, count, seed + index))
        self.prior.copy_(torch.from_numpy(np.stack([means.prior for means in learned])))
        self.effects.copy_(torch.from_numpy(np.concatenate([means.effects for means in learned])))
        return self._joined(features, encoded)

    def _joined(self, features: Rows, encoded: Sequence[Rows]) -> Rows:
        others = [features[:, first:end] for first, end in self._others]
        joined: Rows = np.concatenate([*others, *encoded], axis=1, dtype=np.float32)
        return joined


def _codes(features: Rows) -> Codes:
    """Return which of a column's features (n, C) is set, -1 where none is."""
    is_set = features > _IS_SET
    return np.where(is_set.any(axis=1), is_set.argmax(axis=1), -1)
