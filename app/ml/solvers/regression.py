"""Ridge regression for several numbers, each of which may be missing in other rows.

Numbers that are known in the same rows are solved for together, under one penalty.
"""

import torch
from torch import Tensor

from app.ml.solvers.ridge import solve_ridge
from app.ml.solvers.solution import Score, Solution


def solve_regression(features: Tensor, targets: Tensor) -> Solution:
    """Fit features (N, F) to numbers (N, K), NaN where unknown; a number without any known row is predicted as 0.

    Where there are several penalties, the only score is the sum of their best ones, at their mean strength.
    """
    # Targets that are known in the same rows form a group: patterns bool (G, N), group (K,).
    patterns, group = torch.unique((~targets.isnan()).T, dim=0, return_inverse=True)
    weight = torch.zeros(targets.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    bias, left_out = weight.new_zeros(len(weight)), weight.new_ones(len(weight))
    parts: list[Solution] = []
    for index, rows in enumerate(patterns):
        members = group == index
        if rows.any():
            solution = solve_ridge(features[rows], targets[rows][:, members])
            weight[members], bias[members] = solution.weight.double(), solution.bias.double()
            left_out[members] = _deviations(solution).to(left_out)
            parts.append(solution)
    if len(parts) == len(patterns) == 1:
        return parts[0]
    scores = _sum(parts)
    return Solution(weight, bias, scores[0].strength if scores else 0.0, scores, left_out)


def _deviations(solution: Solution) -> Tensor:
    """Root mean square held-out errors (K,); the same for all outputs where only their summed loss is known."""
    if solution.left_out is not None:
        return solution.left_out
    outputs = len(solution.bias)
    return torch.full((outputs,), (2 * solution.loss / outputs) ** 0.5 if solution.loss is not None else 1.0)


def _sum(parts: list[Solution]) -> tuple[Score, ...]:
    """Add up the best scores of all groups; no score where a group has none."""
    best = [min(part.scores, key=lambda score: score.loss) for part in parts if part.scores]
    if len(best) < len(parts) or not best:
        return ()
    # Errors of different groups are taken for independent, so their squares add up.
    error = sum(score.error**2 for score in best) ** 0.5
    strength = sum(score.strength for score in best) / len(best)
    return (Score(strength, sum(score.loss for score in best), error),)
