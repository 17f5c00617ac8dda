"""LogME: how well labels follow from features, by the evidence of a Bayesian linear model.

    y | w ~ N(F w, 1 / beta),  w ~ N(0, 1 / alpha):   log p(y | F, alpha, beta) / n, maximal over alpha and beta

You et al., "LogME: practical assessment of pre-trained models for transfer learning", 2021. With A = alpha I + beta F'F
and m = beta A^-1 F'y, the evidence of n rows with D features is

    n/2 log beta + D/2 log alpha - n/2 log 2 pi - beta/2 |F m - y|^2 - alpha/2 |m|^2 - 1/2 log |A|

and alpha = gamma / |m|^2, beta = (n - gamma) / |F m - y|^2 with gamma = sum_i beta s_i^2 / (alpha + beta s_i^2) are
repeated until they stay (MacKay, 1992), in the basis of F = U S V'. Of classes it is the mean over one indicator (0 or
1) each; a number is standardised first. Nothing is held out and no penalty is chosen, so it costs one decomposition;
values of the same labels on the same rows can be compared, and nothing else.
"""

import math

import torch
from torch import Tensor

_MAX_ROUNDS = 500
_STAYS = 1e-6  # relative
_MIN = 1e-12


def logme(features: Tensor, targets: Tensor) -> float:
    """Mean evidence per row of targets (n, K), given features (n, F)."""
    left, sizes, _ = torch.linalg.svd(features.double(), full_matrices=False)
    squares = sizes.square()
    return sum(_evidence(left, squares, target) for target in targets.double().T) / targets.shape[1]


def indicators(target: Tensor, classes: int) -> Tensor:
    """What `logme` takes for classes int64 (n,): (n, K), without those that no row has."""
    table = torch.nn.functional.one_hot(target, classes)
    return table[:, table.any(0)]


def standardised(target: Tensor) -> Tensor:
    """What `logme` takes for numbers (n,): (n, 1)."""
    std = target.std(correction=0)
    return ((target - target.mean()) / torch.where(std > 0, std, 1.0))[:, None]


def _evidence(left: Tensor, squares: Tensor, target: Tensor) -> float:
    """Of one target (n,), by U (n, R) and S^2 (R,); the axes without any size cancel."""
    along = (left.T @ target).square()  # (U'y)^2
    rest = float((target.square().sum() - along.sum()).clamp(min=0))
    alpha, beta = 1.0, 1.0
    for _ in range(_MAX_ROUNDS):
        before = alpha / beta
        weights, errors = _sizes(along, squares, rest, before)
        gamma = float((squares / (before + squares)).sum())
        alpha, beta = _bounded(gamma, weights), _bounded(len(target) - gamma, errors)
        if abs(alpha / beta - before) <= _STAYS * before:
            break
    weights, errors = _sizes(along, squares, rest, alpha / beta)
    spread = float(torch.log1p(beta / alpha * squares).sum())  # log |A| - D log alpha
    rows = len(target) / 2 * (math.log(beta) - math.log(2 * math.pi))
    return (rows - beta / 2 * errors - alpha / 2 * weights - spread / 2) / len(target)


def _bounded(above: float, below: float) -> float:
    """Their ratio; it has no end where nothing follows from the features, or all does."""
    return min(max(above / max(below, _MIN), _MIN), 1 / _MIN)


def _sizes(along: Tensor, squares: Tensor, rest: float, ratio: float) -> tuple[float, float]:
    """|m|^2 and |F m - y|^2 where alpha / beta is `ratio`."""
    weights = (squares * along / (ratio + squares).square()).sum()
    errors = (along * (ratio / (ratio + squares)).square()).sum()
    return float(weights), float(errors) + rest
