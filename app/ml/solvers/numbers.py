"""Ridge regression for several numbers, each of which may be known in rows of its own.

Numbers that are known in the same rows are solved for together, with one penalty.
"""

import torch
from torch import Tensor

from app.ml.solvers.ridge import solve_ridge
from app.ml.solvers.solution import Score, Solution


def solve_numbers(features: Tensor, wanted: Tensor) -> Solution:
    """Fit features (N, F) to numbers (N, K), NaN where unknown; a number that is nowhere known is answered by 0.

    Where there are several penalties the only score is the sum of their best ones, at their mean strength.
    """
    patterns, group = torch.unique((~wanted.isnan()).T, dim=0, return_inverse=True)
    weight = torch.zeros(wanted.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    bias, left_out = weight.new_zeros(len(weight)), weight.new_ones(len(weight))
    parts: list[Solution] = []
    for index, rows in enumerate(patterns):
        of = group == index
        if rows.any():
            found = solve_ridge(features[rows], wanted[rows][:, of])
            weight[of], bias[of] = found.weight.double(), found.bias.double()
            left_out[of] = _deviations(found).to(left_out)
            parts.append(found)
    if len(parts) == len(patterns) == 1:
        return parts[0]
    scores = _sum(parts)
    return Solution(weight, bias, scores[0].strength if scores else 0.0, scores, left_out)


def _deviations(found: Solution) -> Tensor:
    """(K,), or their mean where only that is known."""
    if found.left_out is not None:
        return found.left_out
    outputs = len(found.bias)
    return torch.full((outputs,), (2 * found.loss / outputs) ** 0.5 if found.loss is not None else 1.0)


def _sum(parts: list[Solution]) -> tuple[Score, ...]:
    best = [min(one.scores, key=lambda score: score.loss) for one in parts if one.scores]
    if len(best) < len(parts) or not best:
        return ()
    error = sum(score.error**2 for score in best) ** 0.5
    strength = sum(score.strength for score in best) / len(best)
    return (Score(strength, sum(score.loss for score in best), error),)
