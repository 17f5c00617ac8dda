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
from app.ml.solvers.path import STRENGTHS, UNTESTED, Problem, solve
from app.ml.solvers.solution import Score, Solution

_FOLDS = 3
_MIN_ROOM = 1e-6  # what is below is rounding


def solve_ridge(features: Tensor, wanted: Tensor) -> Solution:
    """Fit features (N, F) to numbers (N, K)."""
    middle = features.mean(0, dtype=torch.float64)
    basis = principal(features - middle.to(features))
    wanted = wanted.to(basis.rows)
    if basis.axes is None:
        folds = torch.arange(len(features), device=features.device) % _FOLDS
        problem = Problem(basis, SquaredLoss(wanted, torch.ones_like(wanted[:, 0])))
        found = solve(problem, folds, _FOLDS)
    else:
        found = _closed_form(basis, wanted)
    bias = found.bias - found.weight @ middle.to(found.weight)
    return replace(found, bias=bias)


def left_out(features: Tensor, wanted: Tensor) -> Tensor:
    """What is answered for each row of (N, F) by a fit to all others, (N, K), at the strength that errs least.

    N is at most MAX_AXES, so that all fits are in closed form.
    """
    basis = principal(features - features.mean(0, dtype=torch.float64).to(features))
    assert basis.axes is not None
    wanted = wanted.to(basis.rows)
    found = _LeftOut.of(basis.rows, basis.spectrum * len(wanted), wanted - wanted.mean(0))
    unit = _unit(basis)
    scores = [found.score(relative * unit) for relative in STRENGTHS]
    return wanted - found.errors(min(scores, key=lambda score: score.loss).strength)


def _unit(basis: Basis) -> float:
    """The features' variance, summed over all: what strengths are relative to."""
    return max(basis.spectrum.sum().item(), torch.finfo(torch.float32).tiny)


def _closed_form(basis: Basis, wanted: Tensor) -> Solution:
    mean = wanted.mean(0)
    squares = basis.spectrum * len(wanted)
    unit = _unit(basis)
    found = _LeftOut.of(basis.rows, squares, wanted - mean)
    scores = tuple(found.score(relative * unit) for relative in STRENGTHS) if len(wanted) > 1 else ()
    strength = min(scores, key=lambda score: score.loss).strength if scores else UNTESTED * unit
    against = basis.rows.T @ (wanted - mean)  # (R, K): s_j u_j'y
    weight = basis.weights(against / (squares + strength)[:, None])
    return Solution(weight.T, mean, strength, scores, found.deviations(strength) if scores else None)


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """Errors of rows left out.

    Where a fit is nearly exact both e and 1 - h vanish: so both are sums of what each axis leaves, not differences.
    """

    left: Tensor  # U (N, R)
    squares: Tensor  # (R,)
    explained: Tensor  # U'y (R, K)
    rest: Tensor  # y - UU'y (N, K)
    room: Tensor  # 1 - 1/N - sum_j u_nj^2 (N,)

    @classmethod
    def of(cls, rows: Tensor, squares: Tensor, wanted: Tensor) -> "_LeftOut":
        """From U S (N, R), S^2 (R,) and centred numbers (N, K)."""
        left = rows * torch.where(squares > 0, squares, torch.inf).rsqrt()
        explained = left.T @ wanted
        room = 1 - 1 / len(rows) - left.square().sum(1)
        room = torch.where(room > _MIN_ROOM, room, 0.0)
        rest = (wanted - left @ explained) * (room > 0)[:, None]
        return cls(left, squares, explained, rest, room)

    def score(self, strength: float) -> Score:
        """Half the squared errors, summed over the outputs."""
        costs = self.errors(strength).square().sum(1) / 2
        return Score(strength, costs.mean().item(), (costs.std(correction=0) / len(costs) ** 0.5).item())

    def deviations(self, strength: float) -> Tensor:
        """Root mean square of every output's errors, (K,)."""
        return self.errors(strength).square().mean(0).sqrt()

    def errors(self, strength: float) -> Tensor:
        """What is wanted less what is answered, (N, K)."""
        kept = strength / (self.squares + strength)
        errors = self.rest + self.left @ (kept[:, None] * self.explained)
        room = self.room + self.left.square() @ kept
        return errors / room.clamp(min=torch.finfo(room.dtype).tiny)[:, None]
