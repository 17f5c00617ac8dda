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
    bias, left_out = weight.new_zeros(len(weight)), torch.full_like(targets, torch.nan, dtype=torch.float64)
    parts: list[Solution] = []
    for index, rows in enumerate(patterns):
        members = group == index
        if rows.any():
            solution = solve_ridge(features[rows], targets[rows][:, members])
            weight[members], bias[members] = solution.weight.double(), solution.bias.double()
            if solution.left_out is not None:
                left_out[rows.nonzero(), members.nonzero().T] = solution.left_out.to(left_out)
            parts.append(solution)
    if len(parts) == len(patterns) == 1:
        return parts[0]
    scores = _sum(parts)
    return Solution(weight, bias, scores[0].strength if scores else 0.0, scores, left_out)


def _sum(parts: list[Solution]) -> tuple[Score, ...]:
    """Add up the best scores of all groups; no score where a group has none."""
    best = [min(part.scores, key=lambda score: score.loss) for part in parts if part.scores]
    if len(best) < len(parts) or not best:
        return ()
    # Errors of different groups are taken for independent, so their squares add up.
    error = sum(score.error**2 for score in best) ** 0.5
    strength = sum(score.strength for score in best) / len(best)
    return (Score(strength, sum(score.loss for score in best), error),)
