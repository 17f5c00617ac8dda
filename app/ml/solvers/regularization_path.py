"""Choose the strength of an L2 penalty by cross-validation, from strong to weak; each solve starts at the last optimum.

    minimise over W, b:  sum_n loss(W x_n + b, y_n) + strength / 2 |W|^2

The folds are solved side by side. The path ends when the held-out loss has risen twice: the loss has a single minimum
along the path, and the weakest penalties take by far the longest. In a large problem only one fold is held out, and
the path ends at the first rise: there are enough rows to compare on, and every solve is expensive.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.ml.solvers.basis import Basis, is_large
from app.ml.solvers.folds import NEVER
from app.ml.solvers.lbfgs import minimise
from app.ml.solvers.losses import LinearLoss
from app.ml.solvers.solution import Score, Solution

STRENGTHS = tuple(10.0 ** (1 - half / 2) for half in range(17))  # 10 to 1e-7, per unit of the features' variance
UNTESTED = 1e-2  # the strength where there is nothing to hold out
_PATIENCE, _PATIENCE_IF_LARGE = 2, 1
_MAX_AT_ONCE = 1 << 26  # numbers in the outputs of the folds that are solved side by side
_PATH_TOLERANCE, _FINAL_TOLERANCE = 1e-6, {torch.float64: 1e-12, torch.float32: 1e-8}
_MAX_STEPS = 300


@dataclass(frozen=True, slots=True)
class LinearProblem:
    """A linear model to fit: rows in some basis, and the loss of its outputs. P copies are solved side by side."""

    basis: Basis
    loss: LinearLoss

    @property
    def total_variance(self) -> float:
        """The summed variance of the features: strengths are multiples of it."""
        return max(self.basis.spectrum.sum().item(), torch.finfo(torch.float32).tiny)

    def start(self, problems: int) -> Tensor:
        """Weights and in the last row biases, zeros (P, R + 1, K)."""
        rows = self.basis.rows
        return rows.new_zeros(problems, rows.shape[1] + 1, self.loss.outputs)

    @property
    def every_row(self) -> Tensor:
        """The mask of a single problem that learns from every row, (N, 1)."""
        rows = self.basis.rows
        return rows.new_ones(len(rows), 1)

    def outputs(self, point: Tensor) -> Tensor:
        """Outputs of weights and biases (P, R + 1, K) for all rows, (N, P, K)."""
        problems, size, outputs = point.shape
        weights = point[:, :-1].transpose(1, 2).reshape(problems * outputs, size - 1)
        # The few outputs stand on the left of the product: on the right it takes up to ten times as long.
        products = (weights @ self.basis.rows.T).view(problems, outputs, -1)
        return products.permute(2, 0, 1) + point[:, -1]

    def solved(self, start: Tensor, included: Tensor, strength: float, tolerance: float) -> Tensor:
        """Solve P problems, each over the rows that `included` (N, P) marks with 1; their optima (P, R + 1, K)."""
        # The mean loss over a problem's rows plus its share of the penalty: so tolerances do not depend on N.
        share = included * self.loss.share[:, None]
        total = share.sum(0).clamp(min=torch.finfo(share.dtype).tiny)  # (P,)
        penalty = (strength / total)[:, None, None]  # (P, 1, 1)

        def function(point: Tensor) -> tuple[Tensor, Tensor]:
            outputs, weights = self.outputs(point), point[:, :-1]
            # The mean loss of each problem's rows, (P,); then with the penalty, (P, 1, 1).
            value = (self.loss.rows(outputs) * included).sum(0) / total
            value = value[:, None, None] + penalty / 2 * weights.square().sum((1, 2), keepdim=True)
            slopes = self.loss.slopes(outputs) * (included / total)[:, :, None]  # (N, P, K)
            # The gradient by the weights: all problems' and outputs' slopes in one product with the rows, (P K, R).
            flat = slopes.permute(1, 2, 0).reshape(-1, len(slopes)) @ self.basis.rows
            by_weight = flat.view(len(point), -1, flat.shape[1]).transpose(1, 2) + penalty * weights
            return value, torch.cat([by_weight, slopes.sum(0)[:, None]], dim=1)

        # About the inverse second derivative along each axis; a bias is the weight of a column of ones.
        scale = 1 / (self.loss.curvature * self.basis.spectrum[None, :, None] + penalty)
        bias = torch.full_like(scale[:, :1], 1 / self.loss.curvature)
        return minimise(function, start, torch.cat([scale, bias], dim=1), tolerance, _MAX_STEPS)


def solve(problem: LinearProblem, folds: Tensor, count: int) -> Solution:
    """Choose the strength by `count` folds (N,), and return the optimum over all rows at that strength."""
    return _optimum(problem, _scores(problem, folds, count) if (folds != NEVER).any() else ())


@dataclass(frozen=True, slots=True)
class FoldLabels:
    """A fold with labels of its own: what is learned from while `held_out` rows, which have no weight, are held out."""

    loss: LinearLoss
    held_out: Tensor  # (N,) bool


def solve_with_folds(problem: LinearProblem, folds: Sequence[FoldLabels]) -> Solution:
    """Choose the strength by folds with labels of their own, and return the problem's optimum at that strength."""
    return _optimum(problem, _scores_of_labels(problem, folds) if folds else ())


def _optimum(problem: LinearProblem, scores: tuple[Score, ...]) -> Solution:
    strength = min(scores, key=lambda score: score.loss).strength if scores else UNTESTED * problem.total_variance
    tolerance = _FINAL_TOLERANCE[problem.basis.rows.dtype]
    point = problem.solved(problem.start(1), problem.every_row, strength, tolerance)[0]
    return Solution(problem.basis.weights(point[:-1]).T, point[-1], strength, scores)


def _scores(problem: LinearProblem, folds: Tensor, count: int) -> tuple[Score, ...]:
    rows = problem.basis.rows
    # 1 where a fold holds a row out, (N, P); of a large problem the first fold that holds out any.
    held = (folds[:, None] == torch.arange(count, device=folds.device)).to(rows.dtype)
    held = held[:, held.any(0)][:, : 1 if is_large(*rows.shape) else count]
    at_once = max(1, _MAX_AT_ONCE // (len(folds) * problem.loss.outputs))
    groups = list(torch.split(held, at_once, dim=1))
    points = [problem.start(group.shape[1]) for group in groups]

    def score(strength: float) -> Score:
        for index, group in enumerate(groups):
            points[index] = problem.solved(points[index], 1 - group, strength, _PATH_TOLERANCE)
        return _score(problem, points, groups, strength)

    return _along_path(problem, score)


def _scores_of_labels(problem: LinearProblem, folds: Sequence[FoldLabels]) -> tuple[Score, ...]:
    points = [problem.start(1) for _ in folds]
    held = [fold.held_out.to(problem.basis.rows.dtype)[:, None] for fold in folds]

    def score(strength: float) -> Score:
        for index, fold in enumerate(folds):
            fold_problem = LinearProblem(problem.basis, fold.loss)
            points[index] = fold_problem.solved(points[index], problem.every_row, strength, _PATH_TOLERANCE)
        return _score(problem, points, held, strength)

    return _along_path(problem, score)


def _along_path(problem: LinearProblem, score: Callable[[float], Score]) -> tuple[Score, ...]:
    """Score strengths from the strongest on, until the loss has risen `patience` times since its minimum."""
    patience = _PATIENCE_IF_LARGE if is_large(*problem.basis.rows.shape) else _PATIENCE
    scores: list[Score] = []
    for relative in STRENGTHS:
        scores.append(score(relative * problem.total_variance))
        best = min(range(len(scores)), key=lambda index: scores[index].loss)
        if len(scores) - 1 - best >= patience:
            break
    return tuple(scores)


def _score(problem: LinearProblem, points: list[Tensor], groups: list[Tensor], strength: float) -> Score:
    """Average every held-out row's loss under the fold that did not know it: the mean and its standard error."""
    costs = sum(
        (problem.loss.rows(problem.outputs(point)) * group).sum(1) for point, group in zip(points, groups, strict=True)
    )
    tested = sum(group.sum(1) for group in groups) > 0
    assert isinstance(costs, Tensor)
    assert isinstance(tested, Tensor)
    costs, share = costs[tested], problem.loss.share[tested]
    mean = costs.sum() / share.sum()
    # Rows have weights, so this is the standard error of a weighted mean.
    error = (costs - mean * share).square().sum().sqrt() / share.sum()
    return Score(strength, mean.item(), error.item())
