"""Ridge regression (Hoerl and Kennard, 1970): squared errors and an L2 penalty, in closed form.

    minimise over W, b:  sum_n |W x_n + b - y_n|^2 / 2 + strength / 2 |W|^2

On centred data in the basis of the principal axes, X = U S V', w_j = s_j u_j'y / (s_j^2 + strength), and the error of
row n had it been left out is e_n / (1 - h_n) with h_n = 1/N + sum_j u_nj^2 s_j^2 / (s_j^2 + strength) (Allen's PRESS,
1974): leave-one-out cross-validation of every strength for the price of one decomposition. Beyond the size where that
is quick, the same problem is solved by L-BFGS on folds.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.ml.solvers.basis import Basis, principal
from app.ml.solvers.losses import SquaredLoss
from app.ml.solvers.regularization_path import STRENGTHS, UNTESTED, LinearProblem, solve
from app.ml.solvers.solution import Score, Solution

_FOLDS = 3
_MIN_RESIDUAL = 1e-6  # of 1 - h at strength 0; what is below is rounding


def solve_ridge(features: Tensor, targets: Tensor, weights: Tensor | None = None) -> Solution:
    """Fit features (N, F) to numbers (N, K), every one of them known; `weights` (N,) of the rows, all 1 if None."""
    mean = features.mean(0, dtype=torch.float64)
    basis = principal(features - mean.to(features))
    targets = targets.to(basis.rows)
    if basis.axes is None or weights is not None:
        folds = torch.arange(len(features), device=features.device) % _FOLDS
        shares = torch.ones_like(targets[:, 0]) if weights is None else weights.to(targets)
        problem = LinearProblem(basis, SquaredLoss(targets.T.contiguous(), shares))
        solution = solve(problem, folds, _FOLDS)
        solution = replace(solution, left_out=_normal_errors(solution, len(features)))
    else:
        solution = _closed_form(basis, targets)
    # The fit was on centred features: w (x - mean) + b.
    bias = solution.bias - solution.weight @ mean.to(solution.weight)
    return replace(solution, bias=bias)


def _normal_errors(solution: Solution, rows: int) -> Tensor | None:
    """Errors (N, K) of a normal distribution that have the held-out loss: of the folds nothing else is known."""
    if solution.loss is None:
        return None
    outputs = len(solution.bias)
    shares = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    errors: Tensor = (2 * solution.loss / outputs) ** 0.5 * torch.special.ndtri(shares)
    return errors[:, None].expand(-1, outputs)


def leave_one_out(features: Tensor, targets: Tensor) -> Tensor:
    """Predict each row of (N, F) by a fit to all other rows, (N, K), at the strength with the lowest error.

    N is at most MAX_AXES, so that all fits have a closed form.
    """
    basis = principal(features - features.mean(0, dtype=torch.float64).to(features))
    assert basis.axes is not None
    targets = targets.to(basis.rows)
    held_out = _LeaveOneOut.of(basis.rows, basis.spectrum * len(targets), targets - targets.mean(0))
    total_variance = _total_variance(basis)
    scores = [held_out.score(relative * total_variance) for relative in STRENGTHS]
    return targets - held_out.errors(min(scores, key=lambda score: score.loss).strength)


def _total_variance(basis: Basis) -> float:
    """The summed variance of the features: strengths are multiples of it."""
    return max(basis.spectrum.sum().item(), torch.finfo(torch.float32).tiny)


def _closed_form(basis: Basis, targets: Tensor) -> Solution:
    mean = targets.mean(0)
    squares = basis.spectrum * len(targets)  # (R,): s_j^2
    total_variance = _total_variance(basis)
    held_out = _LeaveOneOut.of(basis.rows, squares, targets - mean)
    scores = tuple(held_out.score(relative * total_variance) for relative in STRENGTHS) if len(targets) > 1 else ()
    strength = min(scores, key=lambda score: score.loss).strength if scores else UNTESTED * total_variance
    projections = basis.rows.T @ (targets - mean)  # (R, K): s_j u_j'y
    weight = basis.weights(projections / (squares + strength)[:, None])
    return Solution(weight.T, mean, strength, scores, held_out.errors(strength) if scores else None)


@dataclass(frozen=True, slots=True)
class _LeaveOneOut:
    """Leave-one-out errors e_n / (1 - h_n) at any strength, from one decomposition.

    Where a fit is nearly exact both e and 1 - h vanish, and a difference of large numbers would be rounding. So both
    are sums of positive parts: what is beyond all axes, and on each axis the share strength / (s_j^2 + strength).
    """

    left: Tensor  # U (N, R)
    squares: Tensor  # (R,)
    explained: Tensor  # U'y (R, K)
    beyond: Tensor  # y - UU'y, which no axis explains (N, K)
    residual: Tensor  # 1 - 1/N - sum_j u_nj^2: 1 - h without a penalty (N,)

    @classmethod
    def of(cls, rows: Tensor, squares: Tensor, targets: Tensor) -> "_LeaveOneOut":
        """From U S (N, R), S^2 (R,) and centred numbers (N, K)."""
        left = rows * torch.where(squares > 0, squares, torch.inf).rsqrt()
        explained = left.T @ targets
        residual = 1 - 1 / len(rows) - left.square().sum(1)
        residual = torch.where(residual > _MIN_RESIDUAL, residual, 0.0)
        # A row that the axes span whole has nothing beyond them: what is computed there is rounding.
        beyond = (targets - left @ explained) * (residual > 0)[:, None]
        return cls(left, squares, explained, beyond, residual)

    def score(self, strength: float) -> Score:
        """The mean over rows of half the squared errors, summed over the outputs, and its standard error."""
        costs = self.errors(strength).square().sum(1) / 2
        return Score(strength, costs.mean().item(), (costs.std(correction=0) / len(costs) ** 0.5).item())

    def errors(self, strength: float) -> Tensor:
        """Targets less leave-one-out predictions, (N, K)."""
        shrunk = strength / (self.squares + strength)  # (R,): the share of each axis that the penalty takes away
        errors = self.beyond + self.left @ (shrunk[:, None] * self.explained)  # e
        residual = self.residual + self.left.square() @ shrunk  # 1 - h
        return errors / residual.clamp(min=torch.finfo(residual.dtype).tiny)[:, None]
