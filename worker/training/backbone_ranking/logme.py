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
_TOLERANCE = 1e-6  # relative change of alpha / beta below which the rounds end
_MIN = 1e-12


def logme(features: Tensor, targets: Tensor) -> float:
    """Mean evidence per row of targets (n, K), given features (n, F)."""
    # One decomposition serves all targets: with R = min(n, F), U is (n, R) and S is (R,).
    left, sizes, _ = torch.linalg.svd(features.double(), full_matrices=False)
    squares = sizes.square()
    return sum(_evidence(left, squares, target) for target in targets.double().T) / targets.shape[1]


def indicators(target: Tensor, classes: int) -> Tensor:
    """Classes int64 (n,) as targets of `logme`: 0 or 1, (n, K), without the classes that no row has."""
    table = torch.nn.functional.one_hot(target, classes)
    return table[:, table.any(0)]


def standardised(target: Tensor) -> Tensor:
    """Numbers (n,) as a target of `logme`: mean 0, deviation 1, (n, 1)."""
    std = target.std(correction=0)
    return ((target - target.mean()) / torch.where(std > 0, std, 1.0))[:, None]


def _evidence(left: Tensor, squares: Tensor, target: Tensor) -> float:
    """The evidence of one target (n,), by U (n, R) and S^2 (R,); axes of size 0 cancel in it."""
    along = (left.T @ target).square()  # (U'y)^2, (R,): how much of y each axis explains
    rest = float((target.square().sum() - along.sum()).clamp(min=0))  # what no axis explains
    alpha, beta = 1.0, 1.0
    for _ in range(_MAX_ROUNDS):
        # m depends on alpha / beta alone, so that the ratio says whether the fixed point is reached.
        before = alpha / beta
        weights, errors = _squared_norms(along, squares, rest, before)
        gamma = float((squares / (before + squares)).sum())  # the effective number of axes in use
        alpha, beta = _bounded_ratio(gamma, weights), _bounded_ratio(len(target) - gamma, errors)
        if abs(alpha / beta - before) <= _TOLERANCE * before:
            break
    weights, errors = _squared_norms(along, squares, rest, alpha / beta)
    # log |A| - D log alpha: the D log alpha of both terms cancel, and axes of size 0 add log 1 = 0.
    log_determinant = float(torch.log1p(beta / alpha * squares).sum())
    rows = len(target) / 2 * (math.log(beta) - math.log(2 * math.pi))
    return (rows - beta / 2 * errors - alpha / 2 * weights - log_determinant / 2) / len(target)


def _bounded_ratio(numerator: float, denominator: float) -> float:
    """The ratio within [1e-12, 1e12]: it is unbounded where the features explain nothing of y, or all of it."""
    return min(max(numerator / max(denominator, _MIN), _MIN), 1 / _MIN)


def _squared_norms(along: Tensor, squares: Tensor, rest: float, ratio: float) -> tuple[float, float]:
    """|m|^2 and |F m - y|^2 where alpha / beta is `ratio`, from (U'y)^2 (R,) and S^2 (R,)."""
    weights = (squares * along / (ratio + squares).square()).sum()
    errors = (along * (ratio / (ratio + squares)).square()).sum()
    return float(weights), float(errors) + rest
