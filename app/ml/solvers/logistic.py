"""Multinomial logistic regression with an L2 penalty, by L-BFGS to its optimum.

    minimise over W, b:  sum_n w_n (- sum_k q_nk log softmax(W x_n + b)_k) + strength / 2 |W|^2

q is the class or its smoothed form, w the weight of the row's class (heads.classifier). The strength comes from
stratified cross-validation of the log loss (`regularization_path`). A class without rows is left out of the fit and
gets less than one row's probability; the only row of a class is in every round's train rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.ml.solvers.basis import principal
from app.ml.solvers.folds import FOLDS, stratified
from app.ml.solvers.losses import SoftmaxLoss
from app.ml.solvers.regularization_path import FoldLabels, LinearProblem, solve, solve_with_folds
from app.ml.solvers.solution import OutOfFold, Solution


def solve_logistic(features: Tensor, classes: Tensor, class_weight: Tensor, smoothing: float = 0.0) -> Solution:
    """Fit features (N, F), about centred, to classes int64 (N,); `class_weight` is (K,), `smoothing` a share."""
    basis = principal(features)
    count = len(class_weight)
    weight = class_weight.to(basis.rows)
    one_hot = torch.nn.functional.one_hot(classes, count).to(basis.rows)
    mass = (one_hot * (1 - smoothing) + smoothing / count) * weight  # (N, K): w_k q_nk
    present = mass.sum(0) > 0  # (K,): classes that have rows, or all of them with smoothing
    problem = LinearProblem(basis, SoftmaxLoss(mass[:, present].T.contiguous(), weight[classes]))
    return _with_absent(solve(problem, stratified(classes, FOLDS), FOLDS), present, len(features))


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """Shares of every class (N, K) in rows that are weighted by their certainty (N,)."""

    shares: Tensor
    certainty: Tensor

    def first(self, count: int) -> "SoftLabels":
        """The labels of the first `count` rows."""
        return SoftLabels(self.shares[:count], self.certainty[:count])

    def mass(self, class_weight: Tensor) -> Tensor:
        """What each class weighs in each row, (N, K)."""
        return self.shares * self.certainty[:, None] * class_weight


def solve_soft(
    features: Tensor, labels: SoftLabels, trials: Sequence[tuple[SoftLabels, Tensor]], class_weight: Tensor
) -> Solution:
    """Fit features (N, F) to soft labels.

    Each trial has labels of its own and a mask of the rows that it holds out, bool (N,). Pseudo-labels depend on
    labels, so plain folds would leak: a trial's labels must have been made without what it holds out. The
    strength of the penalty is that of the lowest loss on the held-out rows.
    """
    basis = principal(features)
    total_mass = labels.mass(class_weight).to(basis.rows)
    present = total_mass.sum(0) > 0

    def loss(mass: Tensor) -> SoftmaxLoss:
        return SoftmaxLoss(mass[:, present].T.contiguous(), mass[:, present].sum(1))

    folds = [FoldLabels(loss(trial.mass(class_weight).to(total_mass)), held_out) for trial, held_out in trials]
    return _with_absent(solve_with_folds(LinearProblem(basis, loss(total_mass)), folds), present, len(features))


def _with_absent(solution: Solution, present: Tensor, rows: int) -> Solution:
    """Add the classes that no row has, K in all: weights of 0, and a bias as if less than one row had the class."""
    weight = solution.weight.new_zeros(len(present), solution.weight.shape[1])
    weight[present] = solution.weight
    bias = _add_rare(solution.bias, present, rows)
    held_out = solution.out_of_fold
    if held_out is not None:
        held_out = OutOfFold(held_out.rows, _add_rare(held_out.outputs, present, rows))
    return Solution(weight, bias, solution.strength, solution.scores, out_of_fold=held_out)


def _add_rare(outputs: Tensor, present: Tensor, rows: int) -> Tensor:
    """Outputs (..., P) of the classes present to (..., K) of all: an absent one gets 1 / (N + 1) of their sum."""
    rare = outputs.logsumexp(-1, keepdim=True) - torch.log(torch.tensor(rows + 1.0))
    filled = rare.expand(*outputs.shape[:-1], len(present)).clone()
    filled[..., present] = outputs
    return filled
