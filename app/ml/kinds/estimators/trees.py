"""What estimators of trees have in common: columns of many categories that are encoded by what they predict.

A tree splits a category off by its own feature, if at least `min_leaf_rows` rows have it. Hundreds of categories have a
few rows each, so that nothing is learned of them, while their features crowd out the others.
"""

from abc import ABC
from collections.abc import Sequence
from typing import Literal, Self

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from app.ml.blocks.arrays import Array, ArrayLayer
from app.ml.blocks.target_encoding import TargetEncoding
from app.ml.blocks.tree_ensemble import TreeEnsemble
from app.ml.errors import ConfigError
from app.ml.interfaces import Rows
from app.ml.interfaces.values import CategoryFeatures
from app.ml.kinds.estimators.base import Estimator, EstimatorRequest, drawn_seed

MAX_ONE_HOT = 15
_BINARY = 2


class TreesRequest(EstimatorRequest, ABC):
    """A choice of trees."""

    target_encoding: Literal["best"] | tuple[CategoryFeatures, ...] = Field(
        "best",
        description="Columns of categories that are encoded by what they predict, on train rows alone; best: those of "
        f"more than {MAX_ONE_HOT} categories where the features are the row itself; []: none.",
    )

    def settled_by_features(
        self, categories: Sequence[CategoryFeatures], outputs: int
    ) -> tuple[Self, tuple[CategoryFeatures, ...]]:
        """Settle what is encoded; a column of no more categories than outputs would take as many features."""
        if self.target_encoding != "best":
            if not set(self.target_encoding) <= set(categories):
                msg = 'it names other columns or features than these rows have: send "best", or [] for none'
                raise ConfigError(("heads",), f"target_encoding: {msg}")
            return self, ()
        chosen = tuple(column for column in categories if column.end - column.first - 1 > max(MAX_ONE_HOT, outputs))
        return self.model_copy(update={"target_encoding": chosen}), chosen

    @property
    def encoded(self) -> tuple[CategoryFeatures, ...]:
        """The columns that are encoded; none where nothing was settled, as in models of earlier releases."""
        return () if self.target_encoding == "best" else self.target_encoding


class EncodingTrees(TreeEnsemble, Estimator):
    """(B, F) to (B, K): trees on features, some of which are encoded as `values` numbers for each column."""

    def __init__(self, config: TreesRequest, features: int, outputs: int, values: int) -> None:
        encoding = TargetEncoding(config.encoded, features, values) if config.encoded else None
        super().__init__(features if encoding is None else encoding.width, outputs)
        self.encoding = encoding

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        return super().forward(features if self.encoding is None else self.encoding(features))

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy, on the CPU."""
        trees = super().array_layer()
        if self.encoding is None:
            return trees
        encoding = self.encoding.array_layer()

        def layer(rows: Array) -> Array:
            return trees(encoding(rows))

        return layer

    def encode_rows(self, features: Tensor, values: Tensor, weights: Tensor) -> Rows:
        """Learn how categories are encoded from rows (n, F) with values (n, V), weighted by (n,).

        Returns the rows (n, F') that the trees are grown on, each encoded without its own value.
        """
        rows: Rows = features.numpy(force=True)
        if self.encoding is None:
            return rows
        each = (values.double().numpy(force=True), weights.double().numpy(force=True))
        return self.encoding.fit(rows, *each, drawn_seed())

    @property
    def sizes(self) -> dict[str, float]:
        """How many trees there are, and encoded columns, if any."""
        columns = {} if self.encoding is None else {"encoded columns": len(self.encoding.columns)}
        return {"trees": len(self.roots), **columns}


def values_per_class(classes: int) -> int:
    """Return how many numbers an encoded column has: the share of each class, or of the second of two."""
    return 1 if classes == _BINARY else classes


def values_of(target: Tensor, classes: int) -> Tensor:
    """Classes (n,) to the values (n, V) whose means encode categories."""
    shares = F.one_hot(target, classes)
    return shares[:, 1:] if classes == _BINARY else shares
