"""Least squares for classes: ridge regression to 1 for a row's class and -1 for the others.

The penalty is the one of the least squared error of rows that are left out, each by all others (solvers.ridge). With
many more features than rows, such as those of random kernels, it answers more rows rightly than logistic regression,
and it takes less time. The logits are a multiple of the outputs, chosen by the log loss of the rows that are left out.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from app.ml.kinds.estimators.base import EstimatorConfig
from app.ml.kinds.estimators.linear import Linear, LinearNumbers
from app.ml.solvers.ridge import solve_ridge
from app.ml.solvers.solution import EstimatorFit, Solution

_MULTIPLES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_USUAL_MULTIPLE = 4.0  # where no row can be left out
_SECONDS_PER_PRODUCT = 1e-10  # of the rows with each other, or of the features


class Ridge(EstimatorConfig):
    """Linear weights of the least squared error, which suit many more features than rows."""

    kind: Literal["ridge"] = "ridge"

    def build_classifier(self, features: int, classes: int) -> "RidgeOfClasses":
        """Build logits."""
        return RidgeOfClasses(features, classes)

    def build_regressor(self, features: int, targets: int) -> LinearNumbers:
        """Build numbers: the same as those of linear weights."""
        return LinearNumbers(features, targets)

    def seconds(self, rows: int, features: int, outputs: int) -> float:
        """Roughly what was measured on an idle core: a busy one takes several times as long."""
        return 2e-3 + _SECONDS_PER_PRODUCT * rows * features * (min(rows, features) + 20 * outputs)


class RidgeOfClasses(Linear):
    """Logits, whose differences are those of the outputs, multiplied."""

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Solve for the weights, and choose the multiple."""
        if not len(features):
            return self._unfitted()
        self.standardize.fit_together(features, [features.shape[1]])
        indicators = 2.0 * F.one_hot(target, len(self.bias)).double() - 1
        is_weighted = len(weights) > 0 and bool((weights != weights[0]).any())
        solution = solve_ridge(self.standardize(features), indicators, weights if is_weighted else None)
        multiple, loss = _multiple(solution, indicators, target)
        self._set(solution)
        self.weight *= multiple
        self.bias *= multiple
        return EstimatorFit("ridge", {"features": features.shape[1]}, loss=loss)


def _multiple(solution: Solution, indicators: Tensor, target: Tensor) -> tuple[float, float | None]:
    """The multiple of the outputs with the least log loss of rows that were left out, and that loss."""
    if solution.out_of_fold is not None:
        outputs, truth = solution.out_of_fold.outputs.double(), target[solution.out_of_fold.rows]
    elif solution.left_out is not None:
        outputs, truth = indicators - solution.left_out.double(), target
    else:
        return _USUAL_MULTIPLE, None
    losses = [(F.cross_entropy(outputs * multiple, truth).item(), multiple) for multiple in _MULTIPLES]
    loss, multiple = min(losses)
    return multiple, loss
