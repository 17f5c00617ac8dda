"""The strength of the L2 penalty by cross-validation, from strong to weak; each solve starts from the last one.

    minimise over W, b:  sum_n loss(W x_n + b, y_n) + strength / 2 |W|^2

The folds are solved side by side. The path ends where the held-out loss has grown twice: it has one valley, and the
weakest penalties take by far the longest. Of a large problem one fold is held out, and the path ends at the
first rise: there are rows enough to tell, and every solve is dear.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.ml.solvers.basis import Basis, is_large
from app.ml.solvers.folds import NEVER
from app.ml.solvers.lbfgs import minimise
from app.ml.solvers.losses import RowLoss
from app.ml.solvers.solution import Score, Solution

STRENGTHS = tuple(10.0 ** (1 - half / 2) for half in range(17))  # 10 to 1e-7, per unit of the features' variance
UNTESTED = 1e-2  # where there is nothing to hold out
_PATIENCE, _PATIENCE_IF_LARGE = 2, 1
_MAX_AT_ONCE = 1 << 26  # outputs of all folds together
_ROUGHLY, _EXACTLY = 1e-6, {torch.float64: 1e-12, torch.float32: 1e-8}
_MAX_STEPS = 300


@dataclass(frozen=True, slots=True)
class Problem:
    """A linear model to fit: rows in some basis, and what its outputs cost."""

    basis: Basis
    loss: RowLoss

    @property
    def unit(self) -> float:
        """The features' variance, summed over all: what strengths are relative to."""
        return max(self.basis.spectrum.sum().item(), torch.finfo(torch.float32).tiny)

    def start(self, problems: int) -> Tensor:
        """Weights and, last, biases: zeros (P, R + 1, K)."""
        rows = self.basis.rows
        return rows.new_zeros(problems, rows.shape[1] + 1, self.loss.outputs)

    @property
    def every_row(self) -> Tensor:
        """All are taught: ones (N, 1)."""
        rows = self.basis.rows
        return rows.new_ones(len(rows), 1)

    def outputs(self, point: Tensor) -> Tensor:
        """(P, R + 1, K) to (N, P, K)."""
        problems, size, outputs = point.shape
        weights = point[:, :-1].transpose(1, 2).reshape(problems * outputs, size - 1)
        # Few outputs on the left side of a product: on the right it takes up to ten times as long.
        found = (weights @ self.basis.rows.T).view(problems, outputs, -1)
        return found.permute(2, 0, 1) + point[:, -1]

    def solved(self, start: Tensor, taught: Tensor, strength: float, tolerance: float) -> Tensor:
        """The optimum (P, R + 1, K) over the rows that each problem is taught, (N, P) of 0 and 1."""
        share = taught * self.loss.share[:, None]
        total = share.sum(0).clamp(min=torch.finfo(share.dtype).tiny)  # (P,)
        penalty = (strength / total)[:, None, None]

        def function(point: Tensor) -> tuple[Tensor, Tensor]:
            outputs, weights = self.outputs(point), point[:, :-1]
            value = (self.loss.rows(outputs) * taught).sum(0) / total
            value = value[:, None, None] + penalty / 2 * weights.square().sum((1, 2), keepdim=True)
            slopes = self.loss.slopes(outputs) * (taught / total)[:, :, None]
            flat = slopes.permute(1, 2, 0).reshape(-1, len(slopes)) @ self.basis.rows
            by_weight = flat.view(len(point), -1, flat.shape[1]).transpose(1, 2) + penalty * weights
            return value, torch.cat([by_weight, slopes.sum(0)[:, None]], dim=1)

        scale = 1 / (self.loss.curvature * self.basis.spectrum[None, :, None] + penalty)
        bias = torch.full_like(scale[:, :1], 1 / self.loss.curvature)
        return minimise(function, start, torch.cat([scale, bias], dim=1), tolerance, _MAX_STEPS)


def solve(problem: Problem, folds: Tensor, count: int) -> Solution:
    """The strength that costs least on the held-out rows of `count` folds (N,), and the optimum over all rows."""
    return _solved(problem, _scores(problem, folds, count) if (folds != NEVER).any() else ())


@dataclass(frozen=True, slots=True)
class Trial:
    """What is learned from while rows are held out: the same rows with other labels, those held out without weight."""

    loss: RowLoss
    held: Tensor  # (N,) bool


def solve_tried(problem: Problem, trials: Sequence[Trial]) -> Solution:
    """The strength that costs least on what the trials hold out, one after the other, and the problem's optimum."""
    return _solved(problem, _scores_of_trials(problem, trials) if trials else ())


def _solved(problem: Problem, scores: tuple[Score, ...]) -> Solution:
    strength = min(scores, key=lambda score: score.loss).strength if scores else UNTESTED * problem.unit
    exactly = _EXACTLY[problem.basis.rows.dtype]
    point = problem.solved(problem.start(1), problem.every_row, strength, exactly)[0]
    return Solution(problem.basis.weights(point[:-1]).T, point[-1], strength, scores)


def _scores(problem: Problem, folds: Tensor, count: int) -> tuple[Score, ...]:
    rows = problem.basis.rows
    held = (folds[:, None] == torch.arange(count, device=folds.device)).to(rows.dtype)  # (N, P)
    held = held[:, held.any(0)][:, : 1 if is_large(*rows.shape) else count]
    at_once = max(1, _MAX_AT_ONCE // (len(folds) * problem.loss.outputs))
    groups = list(torch.split(held, at_once, dim=1))
    points = [problem.start(group.shape[1]) for group in groups]

    def score(strength: float) -> Score:
        for index, group in enumerate(groups):
            points[index] = problem.solved(points[index], 1 - group, strength, _ROUGHLY)
        return _score(problem, points, groups, strength)

    return _walk(problem, score)


def _scores_of_trials(problem: Problem, trials: Sequence[Trial]) -> tuple[Score, ...]:
    points = [problem.start(1) for _ in trials]
    held = [trial.held.to(problem.basis.rows.dtype)[:, None] for trial in trials]

    def score(strength: float) -> Score:
        for index, trial in enumerate(trials):
            taught = Problem(problem.basis, trial.loss)
            points[index] = taught.solved(points[index], problem.every_row, strength, _ROUGHLY)
        return _score(problem, points, held, strength)

    return _walk(problem, score)


def _walk(problem: Problem, score: Callable[[float], Score]) -> tuple[Score, ...]:
    """Scores from the strongest on, until they have risen often enough."""
    patience = _PATIENCE_IF_LARGE if is_large(*problem.basis.rows.shape) else _PATIENCE
    scores: list[Score] = []
    for relative in STRENGTHS:
        scores.append(score(relative * problem.unit))
        best = min(range(len(scores)), key=lambda index: scores[index].loss)
        if len(scores) - 1 - best >= patience:
            break
    return tuple(scores)


def _score(problem: Problem, points: list[Tensor], groups: list[Tensor], strength: float) -> Score:
    """Every row's loss where it was held out, as a mean."""
    costs = sum(
        (problem.loss.rows(problem.outputs(point)) * group).sum(1) for point, group in zip(points, groups, strict=True)
    )
    tested = sum(group.sum(1) for group in groups) > 0
    assert isinstance(costs, Tensor)
    assert isinstance(tested, Tensor)
    costs, share = costs[tested], problem.loss.share[tested]
    mean = costs.sum() / share.sum()
    error = (costs - mean * share).square().sum().sqrt() / share.sum()
    return Score(strength, mean.item(), error.item())
