"""Linear weights as an estimator: members of a blend, and least squares for classes."""

import numpy as np
import torch
from torch import Tensor, nn

from app.ml.blocks.arrays import ArrayLayer, HasArrayLayer, dense
from app.ml.blocks.standardize import Standardize
from app.ml.kinds.estimators.base import Estimator
from app.ml.solvers.logistic import solve_logistic
from app.ml.solvers.regression import solve_regression
from app.ml.solvers.solution import EstimatorFit, Solution

_FAR = 1e15  # a number farther out may have no finite product in float32


class Linear(HasArrayLayer, Estimator):
    """Linear weights on standardised features, (B, F) to (B, K)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.standardize = Standardize(features)
        self.register_buffer("weight", torch.zeros(outputs, features))
        self.register_buffer("bias", torch.zeros(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        finite = torch.nan_to_num(features).clamp(-_FAR, _FAR)
        return nn.functional.linear(self.standardize(finite), self.weight, self.bias)

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy."""
        layer = dense(self.weight.numpy(), self.bias.numpy())
        mean, std = self.standardize.mean.numpy(), self.standardize.std.numpy()
        return lambda features: layer((np.nan_to_num(features).clip(-_FAR, _FAR) - mean) / std)

    def _unfitted(self) -> EstimatorFit:
        """Nothing is learned from no rows: all outputs stay 0."""
        return EstimatorFit("linear", {"features": self.weight.shape[1]})

    @torch.no_grad()
    def _set(self, solution: Solution) -> EstimatorFit:
        self.weight.copy_(solution.weight)
        self.bias.copy_(solution.bias)
        return EstimatorFit("linear", {"features": self.weight.shape[1]})


class LinearClasses(Linear):
    """Logits of multinomial logistic regression."""

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Solve for the weights, the penalty by cross-validation."""
        if not len(features):
            return self._unfitted()
        self.standardize.fit_together(features, [features.shape[1]])
        of_class = torch.ones(len(self.bias), dtype=weights.dtype, device=weights.device).scatter(0, target, weights)
        return self._set(solve_logistic(self.standardize(features), target, of_class))


class LinearNumbers(Linear):
    """Numbers of ridge regression."""

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Solve for the weights, the penalty by cross-validation."""
        del weights
        if not len(features):
            return self._unfitted()
        self.standardize.fit_together(features, [features.shape[1]])
        return self._set(solve_regression(self.standardize(features), target))
