"""Ridge regression (Hoerl and Kennard, 1970): squared errors and an L2 penalty, in closed form.

    minimise over W, b:  sum_n |W x_n + b - y_n|^2 / 2 + strength / 2 |W|^2

On centred data in the basis of the principal axes, X = U S V', w_j = s_j u_j'y / (s_j^2 + strength), and the error of
row n had it been left out is e_n / (1 - h_n) with h_n = 1/N + sum_j u_nj^2 s_j^2 / (s_j^2 + strength) (Allen's PRESS,
1974): leave-one-out cross-validation of every strength for the price of one decomposition. Beyond the size where that
is quick, the same problem is solved by L-BFGS on folds.
"""

import torch
from torch import Tensor

from app.ml.solvers.basis import Basis, principal
from app.ml.solvers.losses import SquaredLoss
from app.ml.solvers.path import STRENGTHS, UNTESTED, Problem, solve
from app.ml.solvers.solution import Score, Solution

_FOLDS = 3
_LEAST_LEFT = 1e-10  # of 1 - h: a row that alone decides its own answer


def solve_ridge(features: Tensor, wanted: Tensor) -> Solution:
    """Fit features (N, F) to numbers (N, K)."""
    middle = features.mean(0)
    basis = principal(features - middle)
    wanted = wanted.to(basis.rows)
    if basis.axes is None:
        folds = torch.arange(len(features), device=features.device) % _FOLDS
        problem = Problem(basis, SquaredLoss(wanted, torch.ones_like(wanted[:, 0])))
        found = solve(problem, folds, _FOLDS)
    else:
        found = _closed_form(basis, wanted)
    bias = found.bias - found.weight @ middle.to(found.weight)
    return Solution(found.weight, bias, found.strength, found.scores)


def _closed_form(basis: Basis, wanted: Tensor) -> Solution:
    mean = wanted.mean(0)
    squares = basis.spectrum * len(wanted)
    unit = max(basis.spectrum.sum().item(), torch.finfo(torch.float32).tiny)
    against = basis.rows.T @ (wanted - mean)  # (R, K): s_j u_j'y
    strengths = [relative * unit for relative in STRENGTHS]
    scores = tuple(_left_out(basis, wanted - mean, against, squares, strength) for strength in strengths)
    if len(wanted) > 1:
        strength = min(scores, key=lambda score: score.loss).strength
    else:
        scores, strength = (), UNTESTED * unit
    weight = basis.weights(against / (squares + strength)[:, None])
    return Solution(weight.T, mean, strength, scores)


def _left_out(basis: Basis, wanted: Tensor, against: Tensor, squares: Tensor, strength: float) -> Score:
    """Half the squared errors of rows left out, summed over the outputs."""
    shrunk = (squares + strength).reciprocal()
    errors = wanted - basis.rows @ (against * shrunk[:, None])
    leverage = 1 / len(wanted) + basis.rows.square() @ shrunk
    costs = (errors / (1 - leverage).clamp(min=_LEAST_LEFT)[:, None]).square().sum(1) / 2
    return Score(strength, costs.mean().item(), (costs.std(correction=0) / len(costs) ** 0.5).item())
