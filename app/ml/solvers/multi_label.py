"""Logistic regression for several labels, each there or not, with one L2 penalty, by L-BFGS to its optimum.

    minimise over W, b:  sum_nk known_nk w_nk log(1 + exp(-+ (W_k x_n + b_k))) + strength / 2 |W|^2

Given the strength the labels are independent regressions (binary relevance); the strength is that of their lowest
summed loss in cross-validation (`regularization_path`). w is a label's positive weight where a row has it, else 1. A
label that no row has, or every row, is left out of the fit, and answered as if one more row had been otherwise.
"""

import torch
from torch import Tensor

from app.ml.solvers.basis import principal
from app.ml.solvers.folds import FOLDS, stratified
from app.ml.solvers.losses import SigmoidLoss
from app.ml.solvers.regularization_path import LinearProblem, solve
from app.ml.solvers.solution import Solution


def solve_multi_label(features: Tensor, labels: Tensor, positive_weight: Tensor) -> Solution:
    """Fit features (N, F), about centred, to labels int64 (N, K) of 0 and 1, -1 missing; the weight is (K,)."""
    positive, negative = labels == 1, labels == 0
    learnable = positive.any(0) & negative.any(0)  # (K,): some rows have the label and some lack it
    # Log odds with one row more on each side: the bias of what cannot be learned.
    odds = torch.log((positive.sum(0) + 1.0) / (negative.sum(0) + 1.0))
    if not learnable.any():
        return Solution(features.new_zeros(labels.shape[1], features.shape[1]), odds.to(features), 0.0, ())
    basis = principal(features)
    dtype = basis.rows.dtype
    known = (labels >= 0)[:, learnable].sum(1).to(dtype)  # (N,): a row counts once for every label that is known
    weighted = (positive * positive_weight)[:, learnable].T.contiguous()
    loss = SigmoidLoss(weighted.to(dtype), negative[:, learnable].T.contiguous().to(dtype), known)
    solution = solve(LinearProblem(basis, loss), stratified(_rarest(positive), FOLDS), FOLDS)
    weight = solution.weight.new_zeros(len(learnable), solution.weight.shape[1])
    bias = odds.to(solution.bias)
    weight[learnable], bias[learnable] = solution.weight, solution.bias
    return Solution(weight, bias, solution.strength, solution.scores)


def _rarest(positive: Tensor) -> Tensor:
    """Return a class per row of (N, K) to stratify by: the rarest label that it has, counted from 1, or 0 for none."""
    counts = torch.where(positive, positive.sum(0), len(positive) + 1)
    return torch.where(positive.any(1), counts.argmin(1) + 1, 0)
