"""Multinomial logistic regression with an L2 penalty, by L-BFGS to its optimum.

    minimise over W, b:  sum_n w_n (- sum_k q_nk log softmax(W x_n + b)_k) + strength / 2 |W|^2

q is the class or its smoothed form, w the weight of the row's class (heads.classifier). The strength comes from
stratified cross-validation of the log loss (`path`). A class without rows stays out and is given less than one row's
probability; a class with one row is always learned from.
"""

import torch
from torch import Tensor

from app.ml.solvers.basis import principal
from app.ml.solvers.folds import FOLDS, stratified
from app.ml.solvers.losses import SoftmaxLoss
from app.ml.solvers.path import Problem, solve
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


def solve_soft(features: Tensor, shares: Tensor, certainty: Tensor, class_weight: Tensor) -> Solution:
    """Fit features (N, F) to soft classes (N, K), a row counting by its certainty (N,) and its classes' weights."""
    basis = principal(features)
    mass = (shares * certainty[:, None] * class_weight).to(basis.rows)
    present = mass.sum(0) > 0
    problem = Problem(basis, SoftmaxLoss(mass[:, present], mass.sum(1)))
    return _with_absent(solve(problem, stratified(shares.argmax(1), FOLDS), FOLDS), present, len(features))


def _with_absent(found: Solution, present: Tensor, rows: int) -> Solution:
    """Classes that no row has get no weights, and a bias as if they had been seen less than once."""
    weight = found.weight.new_zeros(len(present), found.weight.shape[1])
    rare = found.bias.logsumexp(0) - torch.log(torch.tensor(rows + 1.0))
    bias = torch.full_like(present, 0, dtype=found.bias.dtype) + rare
    weight[present], bias[present] = found.weight, found.bias
    return Solution(weight, bias, found.strength, found.scores)
