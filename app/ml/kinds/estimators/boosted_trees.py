"""Gradient-boosted trees: each tree corrects what the trees before it get wrong.

Friedman, "Greedy function approximation: a gradient boosting machine", 2001, on binned features as in Ke et al.,
"LightGBM: a highly efficient gradient boosting decision tree", 2017; scikit-learn grows the trees. Of three classes and
more each iteration grows a tree for every class.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from app.ml.fields import Auto, Integer, Real
from app.ml.interfaces.resolvable import Choices
from app.ml.kinds.estimators.base import EstimatorConfig, EstimatorContext, drawn_seed
from app.ml.kinds.estimators.trees import EncodingTrees, TreesRequest, values_of, values_per_class
from app.ml.solvers.solution import EstimatorFit
from app.ml.solvers.trees import BoostingSettings, boost_classes, boost_numbers

_BINARY = 2
_ITERATIONS, _MIN_ITERATIONS, _MAX_TREES = 100, 20, 2_000
_FEW_ROWS = 500

Iterations = Annotated[Integer, Field(ge=1, le=5_000)]
LearningRate = Annotated[Real, Field(gt=0, le=1)]
MaxLeaves = Annotated[Integer, Field(ge=2, le=1_024)]
MinLeafRows = Annotated[Integer, Field(ge=1, le=10_000)]


class BoostedTrees(TreesRequest):
    """Boost decision trees."""

    kind: Literal["boosted_trees"] = "boosted_trees"
    iterations: Auto[Iterations] = Field(
        "auto", description="Trees one after another, of each class or number; auto: fewer for many classes."
    )
    learning_rate: Auto[LearningRate] = Field("auto", description="Share of its correction that each tree makes.")
    max_leaves: Auto[MaxLeaves] = Field("auto", description="Leaves of a tree at most; auto: fewer for few rows.")
    min_leaf_rows: Auto[MinLeafRows] = Field(
        "auto", description="Train rows in a leaf at least; auto: fewer for few rows."
    )
    feature_share: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.3, description="Share of the features that a split chooses from, drawn anew each time: trees differ more."
    )
    l2: Real = Field(0.0, ge=0, le=1e6, description="Penalty on the values of leaves, in rows.")

    @classmethod
    def resolved_type(cls) -> "type[ResolvedBoostedTrees]":
        """Return the class that builds."""
        return ResolvedBoostedTrees

    def choices(self, context: EstimatorContext) -> Choices:
        """Small leaves for few rows; at most 2,000 trees."""
        of_round = context.outputs if context.outputs > _BINARY or not context.classifies else 1
        iterations = max(_MIN_ITERATIONS, min(_ITERATIONS, _MAX_TREES // of_round))
        each = "" if of_round == 1 else f", each of {of_round} trees"
        leaf_rows = max(2, min(20, context.rows // 30))
        rows = f"{context.rows} labelled train rows"
        return {
            "iterations": (iterations, f"{iterations} corrections{each}"),
            "learning_rate": (round(min(0.3, 10 / iterations), 3), f"{iterations} iterations"),
            "max_leaves": (31 if context.rows > _FEW_ROWS else 8, rows),
            "min_leaf_rows": (leaf_rows, rows),
        }


class ResolvedBoostedTrees(BoostedTrees, EstimatorConfig):
    """The same with known settings."""

    iterations: Iterations
    learning_rate: LearningRate
    max_leaves: MaxLeaves
    min_leaf_rows: MinLeafRows

    def build_classifier(self, features: int, classes: int) -> "BoostedClasses":
        """Build margins of classes."""
        return BoostedClasses(self, features, classes)

    def build_regressor(self, features: int, targets: int) -> "BoostedNumbers":
        """Build numbers."""
        return BoostedNumbers(self, features, targets)

    def seconds(self, rows: int, features: int, outputs: int) -> float:
        """Roughly what was measured on an idle core: a busy one takes several times as long."""
        leaves = min(self.max_leaves, max(1, rows // self.min_leaf_rows))
        return self.iterations * outputs * (2e-4 + leaves * (6e-5 + 2e-6 * features) + 1.5e-9 * rows * features)

    @property
    def settings(self) -> BoostingSettings:
        """What the solver takes."""
        return BoostingSettings(
            self.iterations,
            self.learning_rate,
            self.max_leaves,
            self.min_leaf_rows,
            self.feature_share,
            self.l2,
        )


class BoostedClasses(EncodingTrees):
    """Margins, whose softmax are probabilities."""

    def __init__(self, config: ResolvedBoostedTrees, features: int, classes: int) -> None:
        super().__init__(config, features, classes, values_per_class(classes))
        self.config = config

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Boost under the cross-entropy."""
        rows = self.encode_rows(features, values_of(target, self.outputs), weights)
        classes, shares = target.numpy(force=True), weights.double().numpy(force=True)
        self.set_table(boost_classes(rows, classes, shares, self.outputs, self.config.settings, drawn_seed()))
        return EstimatorFit(self.config.kind, self.sizes)


class BoostedNumbers(EncodingTrees):
    """Standardised numbers."""

    def __init__(self, config: ResolvedBoostedTrees, features: int, targets: int) -> None:
        super().__init__(config, features, targets, targets)
        self.config = config

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Boost under the squared error."""
        rows, numbers = self.encode_rows(features, target, weights), target.numpy(force=True)
        self.set_table(boost_numbers(rows, numbers, self.config.settings, drawn_seed()))
        return EstimatorFit(self.config.kind, self.sizes)
