"""Multinomial logistic regression with an L2 penalty, by L-BFGS to its optimum.

    minimise over W, b:  sum_n w_n (- sum_k q_nk log softmax(W x_n + b)_k) + strength / 2 |W|^2

q is the class or its smoothed form, w the weight of the row's class (heads.classifier). The strength comes from
stratified cross-validation of the log loss (`path`). A class without rows stays out and is given less than one row's
probability; a class with one row is always learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.ml.solvers.basis import principal
from app.ml.solvers.folds import FOLDS, stratified
from app.ml.solvers.losses import SoftmaxLoss
from app.ml.solvers.path import Problem, Trial, solve, solve_tried
from app.ml.solvers.solution import Solution


def solve_logistic(features: Tensor, classes: Tensor, class_weight: Tensor, smoothing: float = 0.0) -> Solution:
    """Fit features (N, F), about centred, to classes int64 (N,); `class_weight` is (K,)."""
    basis = principal(features)
    count = len(class_weight)
    weight = class_weight.to(basis.rows)
    certain = torch.nn.functional.one_hot(classes, count).to(basis.rows)
    mass = (certain * (1 - smoothing) + smoothing / count) * weight
    present = mass.sum(0) > 0
    problem = Problem(basis, SoftmaxLoss(mass[:, present], weight[classes]))
    return _with_absent(solve(problem, stratified(classes, FOLDS), FOLDS), present, len(features))


@dataclass(frozen=True, slots=True)
class SoftRows:
    """Soft classes (N, K) of rows that count by their certainty (N,)."""

    shares: Tensor
    certainty: Tensor

    def first(self, count: int) -> "SoftRows":
        """Of the first so many rows."""
        return SoftRows(self.shares[:count], self.certainty[:count])

    def mass(self, class_weight: Tensor) -> Tensor:
        """(N, K)."""
        return self.shares * self.certainty[:, None] * class_weight


def solve_soft(
    features: Tensor, rows: SoftRows, trials: Sequence[tuple[SoftRows, Tensor]], class_weight: Tensor
) -> Solution:
    """Fit features (N, F) to soft classes.

    The strength is what costs least in the trials, each of which knows the rows without those that it holds out (N,):
    pseudo-labels may depend on labels, so that a fold of rows would still know what it holds out.
    """
    basis = principal(features)
    mass = rows.mass(class_weight).to(basis.rows)
    present = mass.sum(0) > 0

    def loss(mass: Tensor) -> SoftmaxLoss:
        return SoftmaxLoss(mass[:, present], mass[:, present].sum(1))

    tried = [Trial(loss(taught.mass(class_weight).to(mass)), held) for taught, held in trials]
    return _with_absent(solve_tried(Problem(basis, loss(mass)), tried), present, len(features))


def _with_absent(found: Solution, present: Tensor, rows: int) -> Solution:
    """Classes that no row has get no weights, and a bias as if they had been seen less than once."""
    weight = found.weight.new_zeros(len(present), found.weight.shape[1])
    rare = found.bias.logsumexp(0) - torch.log(torch.tensor(rows + 1.0))
    bias = torch.full_like(present, 0, dtype=found.bias.dtype) + rare
    weight[present], bias[present] = found.weight, found.bias
    return Solution(weight, bias, found.strength, found.scores)
