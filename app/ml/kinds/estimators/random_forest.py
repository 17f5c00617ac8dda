"""A forest: many trees, each grown at random, whose answers are averaged.

Extremely randomized trees (Geurts et al., "Extremely randomized trees", 2006), in which thresholds are drawn instead of
searched for: as good as Breiman's forest where it was compared here, and grown in less time. scikit-learn grows them.
Of classes the raw output is the logarithm of the mean share over trees.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from app.ml.blocks.arrays import Array, ArrayLayer
from app.ml.fields import Auto, Integer, Real
from app.ml.interfaces.resolvable import Choices
from app.ml.kinds.estimators.base import EstimatorConfig, EstimatorContext, drawn_seed
from app.ml.kinds.estimators.trees import EncodingTrees, TreesRequest, values_of, values_per_class
from app.ml.solvers.solution import EstimatorFit
from app.ml.solvers.trees import ForestSettings, grow_forest_of_classes, grow_forest_of_numbers

_TREES, _MIN_TREES = 300, 50
_MAX_VALUES = 1 << 24  # of all leaves: 64 MiB

Trees = Annotated[Integer, Field(ge=1, le=2_000)]
MinLeafRows = Annotated[Integer, Field(ge=1, le=100_000)]


class RandomForest(TreesRequest):
    """Average decision trees that are grown at random."""

    kind: Literal["random_forest"] = "random_forest"
    trees: Auto[Trees] = Field("auto", description="Number of trees; auto: 300, fewer where they would be large.")
    min_leaf_rows: Auto[MinLeafRows] = Field(
        "auto", description="Train rows in a leaf at least; auto: 1, more where the trees would be large."
    )
    feature_share: Annotated[Real, Field(gt=0, le=1)] | None = Field(
        None,
        description="Share of the features that a split chooses from; null: the root of their number for classes, all "
        "of them for numbers.",
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedRandomForest]":
        """Return the class that builds."""
        return ResolvedRandomForest

    def choices(self, context: EstimatorContext) -> Choices:
        """300 trees with leaves of one row, as far as that takes no more than 64 MiB."""
        of_leaf = context.outputs if context.classifies else 1
        ensembles = 1 if context.classifies else context.outputs
        affordable = _MAX_VALUES // (of_leaf * ensembles)  # leaves of all trees of an ensemble
        trees = self.trees if self.trees != "auto" else max(_MIN_TREES, min(_TREES, affordable // context.rows))
        leaf_rows = math.ceil(context.rows * trees / affordable)
        size = f"{context.rows} labelled train rows and {context.outputs} outputs"
        return {"trees": (trees, size), "min_leaf_rows": (max(1, leaf_rows), size)}


class ResolvedRandomForest(RandomForest, EstimatorConfig):
    """The same with known settings."""

    trees: Trees
    min_leaf_rows: MinLeafRows

    def build_classifier(self, features: int, classes: int) -> "ForestOfClasses":
        """Build log shares of classes."""
        return ForestOfClasses(self, features, classes)

    def build_regressor(self, features: int, targets: int) -> "ForestOfNumbers":
        """Build numbers."""
        return ForestOfNumbers(self, features, targets)

    def seconds(self, rows: int, features: int, outputs: int) -> float:
        """Roughly what was measured on an idle core: a busy one takes several times as long."""
        tried = math.sqrt(features) if self.feature_share is None else self.feature_share * features
        depth = math.log2(max(2.0, rows / self.min_leaf_rows))
        return self.trees * (1e-3 + 2e-8 * rows * depth * max(1.0, tried) * (1 + outputs / 50))

    @property
    def settings(self) -> ForestSettings:
        """What the solver takes."""
        return ForestSettings(self.trees, self.min_leaf_rows, self.feature_share)


class ForestOfClasses(EncodingTrees):
    """Logarithms of the mean shares, whose softmax are the shares."""

    def __init__(self, config: ResolvedRandomForest, features: int, classes: int) -> None:
        super().__init__(config, features, classes, values_per_class(classes))
        self.config = config
        self.base.fill_(1 / classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        return super().forward(features).log()

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy."""
        shares = super().array_layer()

        def layer(rows: Array) -> Array:
            answers = shares(rows)
            return np.log(answers, out=answers)

        return layer

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Grow the trees."""
        rows = self.encode_rows(features, values_of(target, self.outputs), weights)
        classes, shares = target.numpy(force=True), weights.double().numpy(force=True)
        self.set_table(grow_forest_of_classes(rows, classes, shares, self.outputs, self.config.settings, drawn_seed()))
        return EstimatorFit(self.config.kind, self.sizes)


class ForestOfNumbers(EncodingTrees):
    """Standardised numbers."""

    def __init__(self, config: ResolvedRandomForest, features: int, targets: int) -> None:
        super().__init__(config, features, targets, targets)
        self.config = config

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Grow the trees of each target."""
        rows, numbers = self.encode_rows(features, target, weights), target.numpy(force=True)
        self.set_table(grow_forest_of_numbers(rows, numbers, self.config.settings, drawn_seed()))
        return EstimatorFit(self.config.kind, self.sizes)
