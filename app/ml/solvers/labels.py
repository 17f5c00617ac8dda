"""Logistic regression for several labels, each there or not, with one L2 penalty, by L-BFGS to its optimum.

    minimise over W, b:  sum_nk known_nk w_nk log(1 + exp(-+ (W_k x_n + b_k))) + strength / 2 |W|^2

Given the strength the labels are independent regressions (binary relevance); the strength is what they cost least with
together in cross-validation (`path`). w is a label's positive weight where it is there, else 1. A label that no row
has, or every row, stays out, and is answered as if one more row had been otherwise.
"""

import torch
from torch import Tensor

from app.ml.solvers.basis import principal
from app.ml.solvers.folds import FOLDS, stratified
from app.ml.solvers.losses import SigmoidLoss
from app.ml.solvers.path import Problem, solve
from app.ml.solvers.solution import Solution


def solve_labels(features: Tensor, labels: Tensor, positive_weight: Tensor) -> Solution:
    """Fit features (N, F), about centred, to labels int64 (N, K) of 0 and 1, -1 missing; the weight is (K,)."""
    there, gone = labels == 1, labels == 0
    taught = there.any(0) & gone.any(0)
    odds = torch.log((there.sum(0) + 1.0) / (gone.sum(0) + 1.0))
    if not taught.any():
        return Solution(features.new_zeros(labels.shape[1], features.shape[1]), odds.to(features), 0.0, ())
    basis = principal(features)
    dtype = basis.rows.dtype
    known = (labels >= 0)[:, taught].sum(1).to(dtype)
    loss = SigmoidLoss((there * positive_weight)[:, taught].to(dtype), gone[:, taught].to(dtype), known)
    found = solve(Problem(basis, loss), stratified(_rarest(there), FOLDS), FOLDS)
    weight = found.weight.new_zeros(len(taught), found.weight.shape[1])
    bias = odds.to(found.bias)
    weight[taught], bias[taught] = found.weight, found.bias
    return Solution(weight, bias, found.strength, found.scores)


def _rarest(there: Tensor) -> Tensor:
    """Of each row (N, K) the rarest label that it has, counted from 1, or 0: folds are to share the rare ones out."""
    counts = torch.where(there, there.sum(0), len(there) + 1)
    return torch.where(there.any(1), counts.argmin(1) + 1, 0)
