"""Choose the strength of an L2 penalty by cross-validation, from strong to weak; each solve starts at the last optimum.

    minimise over W, b:  sum_n loss(W x_n + b, y_n) + strength / 2 |W|^2

The folds are solved side by side, in float32 and to a tolerance far below the standard errors of the losses.
The path ends when the held-out loss has risen twice, or once beyond doubt: the loss has a single minimum along the
path, and the weakest penalties take by far the longest. In a large problem only one fold is held out, and the path ends
at the first rise: there are enough rows to compare on, and every solve is expensive. The optimum over all rows is then
solved for from the mean of the folds' optima, in float64 where the problem is small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.ml.solvers.basis import Basis, is_large
from app.ml.solvers.folds import NEVER
from app.ml.solvers.lbfgs import minimise
from app.ml.solvers.losses import LinearLoss
from app.ml.solvers.solution import OutOfFold, Score, Solution

STRENGTHS = tuple(10.0 ** (1 - half / 2) for half in range(17))  # 10 to 1e-7, per unit of the features' variance
UNTESTED = 1e-2  # the strength where there is nothing to hold out
_PATIENCE, _PATIENCE_IF_LARGE = 2, 1
_CERTAIN, _MIN_ROWS = 3.0, 10  # a rise beyond doubt: in standard errors of it, over so many held-out rows
_MAX_AT_ONCE = 1 << 26  # numbers in the outputs of the folds that are solved side by side
_PATH_TOLERANCE, _FINAL_TOLERANCE = 3e-6, {torch.float64: 1e-11, torch.float32: 1e-8}
_MAX_STEPS = 300
_MIN_CURVATURE = 1e-4  # of an output: where all rows are certain, the penalty has all the curvature that counts


@dataclass(frozen=True, slots=True)
class LinearProblem:
    """A linear model to fit: rows in some basis, and the loss of its outputs. P copies are solved side by side."""

    basis: Basis
    loss: LinearLoss

    def to(self, dtype: torch.dtype) -> "LinearProblem":
        """The same in another precision."""
        basis = replace(self.basis, rows=self.basis.rows.to(dtype), spectrum=self.basis.spectrum.to(dtype))
        return LinearProblem(basis, self.loss.to(dtype))

    @property
    def total_variance(self) -> float:
        """The summed variance of the features: strengths are multiples of it."""
        return max(self.basis.spectrum.sum().item(), torch.finfo(torch.float32).tiny)

    def start(self, problems: int) -> Tensor:
        """Weights and in the last column biases, zeros (P, K, R + 1)."""
        rows = self.basis.rows
        return rows.new_zeros(problems, self.loss.outputs, rows.shape[1] + 1)

    @property
    def every_row(self) -> Tensor:
        """The mask of a single problem that learns from every row, (1, N)."""
        rows = self.basis.rows
        return rows.new_ones(1, len(rows))

    def outputs(self, point: Tensor) -> Tensor:
        """Outputs of weights and biases (P, K, R + 1) for all rows, (P, K, N)."""
        # The few outputs stand on the left of the product: on the right it takes up to ten times as long.
        products = point[:, :, :-1].flatten(0, 1) @ self.basis.rows.T
        return products.view(*point.shape[:2], -1).add_(point[:, :, -1:])

    def solved(self, start: Tensor, included: Tensor, strength: float, tolerance: float) -> Tensor:
        """Solve P problems, each over the rows that `included` (P, N) marks with 1; their optima (P, K, R + 1)."""
        # The mean loss over a problem's rows plus its share of the penalty: so tolerances do not depend on N.
        share = included * self.loss.share
        total = share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)  # (P, 1)
        row_weight, penalty = included / total, strength / total  # (P, N), (P, 1)

        def function(flat: Tensor) -> tuple[Tensor, Tensor]:
            point = flat.view_as(start)
            weights = point[:, :, :-1]
            rows, slopes = self.loss.rows_and_slopes(self.outputs(point))  # (P, N), (P, K, N)
            # The mean loss of each problem's rows with the penalty, (P, 1).
            value = (rows * row_weight).sum(1, keepdim=True) + penalty / 2 * weights.square().sum((1, 2))[:, None]
            slopes.mul_(row_weight[:, None])
            gradient = torch.empty_like(point)
            # All problems' and outputs' slopes in one product with the rows, (P K, R).
            gradient[:, :, :-1] = (slopes.flatten(0, 1) @ self.basis.rows).view_as(weights)
            gradient[:, :, :-1] += penalty[:, :, None] * weights
            gradient[:, :, -1] = slopes.sum(2)
            return value, gradient.flatten(1)

        scale = self._inverse_curvature(start, row_weight, penalty).flatten(1)
        return minimise(function, start.flatten(1), scale, tolerance, _MAX_STEPS).view_as(start)

    def _inverse_curvature(self, point: Tensor, row_weight: Tensor, penalty: Tensor) -> Tensor:
        """About the inverse second derivatives at a point: a guess of the inverse Hessian's diagonal, (P, K, R + 1)."""
        # As if a row's curvature did not depend on its features; a bias is the weight of a column of ones.
        curvature = (self.loss.curvatures(self.outputs(point)) * row_weight[:, None]).sum(2, keepdim=True)  # (P, K, 1)
        curvature = curvature.clamp(min=_MIN_CURVATURE)
        return torch.cat([1 / (curvature * self.basis.spectrum + penalty[:, :, None]), 1 / curvature], dim=2)


def solve(problem: LinearProblem, folds: Tensor, count: int) -> Solution:
    """Choose the strength by `count` folds (N,), and return the optimum over all rows at that strength."""
    if not (folds != NEVER).any():
        return _optimum(problem, _Path((), problem.start(1)))
    rows = problem.basis.rows
    # 1 where a fold holds a row out, (P, N); of a large problem the first fold that holds out any.
    held = folds == torch.arange(count, device=folds.device)[:, None]
    held = held[held.any(1)][: 1 if is_large(*rows.shape) else count]
    at_once = max(1, _MAX_AT_ONCE // (len(folds) * problem.loss.outputs))
    return _optimum(problem, _path(problem, [(problem.loss, group) for group in torch.split(held, at_once)]))


@dataclass(frozen=True, slots=True)
class FoldLabels:
    """A fold with labels of its own: what is learned from while `held_out` rows, which have no weight, are held out."""

    loss: LinearLoss
    held_out: Tensor  # (N,) bool


def solve_with_folds(problem: LinearProblem, folds: Sequence[FoldLabels]) -> Solution:
    """Choose the strength by folds with labels of their own, and return the problem's optimum at that strength."""
    if not folds:
        return _optimum(problem, _Path((), problem.start(1)))
    return _optimum(problem, _path(problem, [(fold.loss, fold.held_out[None]) for fold in folds]))


@dataclass(frozen=True, slots=True)
class _Path:
    """The scores of the strengths that were tried; at the best one the mean over the folds of their optima."""

    scores: tuple[Score, ...]
    start: Tensor  # (1, K, R + 1)
    out_of_fold: OutOfFold | None = None  # by the folds' own optima at the best strength


def _optimum(problem: LinearProblem, path: _Path) -> Solution:
    scores = path.scores
    strength = min(scores, key=lambda score: score.loss).strength if scores else UNTESTED * problem.total_variance
    dtype = problem.basis.rows.dtype
    point = problem.solved(path.start.to(dtype), problem.every_row, strength, _FINAL_TOLERANCE[dtype])[0]
    weights = problem.basis.weights(point[:, :-1].T).T
    return Solution(weights, point[:, -1], strength, scores, out_of_fold=path.out_of_fold)


def _path(problem: LinearProblem, groups: Sequence[tuple[LinearLoss, Tensor]]) -> _Path:
    """Score strengths from the strongest on, until the loss has risen `patience` times since its minimum.

    A group is of folds that are solved side by side: what they learn from, and the rows that each holds out, (P, N).
    """
    # Scores need no more than float32: their standard errors are a thousand times its rounding.
    problem, dtype = problem.to(torch.float32), torch.float32
    parts = [(LinearProblem(problem.basis, loss.to(dtype)), held.to(dtype)) for loss, held in groups]
    patience = _PATIENCE_IF_LARGE if is_large(*problem.basis.rows.shape) else _PATIENCE
    points = [problem.start(len(held)) for _, held in parts]
    scores: list[Score] = []
    best, best_points, best_costs = 0, points, problem.loss.share.new_zeros(())
    for relative in STRENGTHS:
        strength = relative * problem.total_variance
        points = [
            part.solved(point, 1 - held, strength, _PATH_TOLERANCE)
            for (part, held), point in zip(parts, points, strict=True)
        ]
        costs, share = _held_out_costs(problem, points, [held for _, held in parts])
        scores.append(Score(strength, *_weighted_mean(costs, share)))
        if scores[-1].loss <= scores[best].loss:
            best, best_points, best_costs = len(scores) - 1, points, costs
        rise, error = _weighted_mean(costs - best_costs, share)
        is_certain = len(costs) >= _MIN_ROWS and rise > _CERTAIN * error
        if is_certain or len(scores) - 1 - best >= patience:
            break
    out_of_fold = _out_of_fold(problem, best_points, [held for _, held in parts])
    return _Path(tuple(scores), torch.cat(best_points).mean(0, keepdim=True), out_of_fold)


def _out_of_fold(problem: LinearProblem, points: list[Tensor], groups: list[Tensor]) -> OutOfFold:
    """The outputs of every held-out row under the fold that did not know it."""
    outputs = problem.basis.rows.new_zeros(problem.loss.outputs, len(problem.basis.rows))  # (K, N)
    tested = torch.zeros_like(groups[0][0], dtype=torch.bool)
    for point, group in zip(points, groups, strict=True):
        # A row is held out by one fold: of the other folds' outputs nothing is added.
        outputs += (problem.outputs(point) * group[:, None]).sum(0)
        tested |= group.any(0)
    rows = tested.nonzero()[:, 0]
    return OutOfFold(rows, outputs[:, rows].T)


def _held_out_costs(problem: LinearProblem, points: list[Tensor], groups: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Every held-out row's loss under the fold that did not know it, and the row's weight in the mean, (n,) each."""
    costs, tested = (
        problem.loss.share.new_zeros(len(problem.basis.rows)),
        torch.zeros_like(groups[0][0], dtype=torch.bool),
    )
    for point, group in zip(points, groups, strict=True):
        costs += (problem.loss.rows(problem.outputs(point)) * group).sum(0)
        tested |= group.any(0)
    return costs[tested].double(), problem.loss.share[tested].double()


def _weighted_mean(costs: Tensor, share: Tensor) -> tuple[float, float]:
    """The mean of costs (n,), which are multiplied with the weights (n,) of their rows, and its standard error."""
    mean = costs.sum() / share.sum()
    # Rows have weights, so this is the standard error of a weighted mean.
    error = (costs - mean * share).square().sum().sqrt() / share.sum()
    return mean.item(), error.item()
