"""L-BFGS for several convex problems of one shape side by side (Liu and Nocedal, 1989).

Side by side they share every matrix product. Steps are halved until they descend enough (Armijo, 1966); a pair without
curvature is passed over. Each problem has its own step, and one that has arrived stays where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (P, D, K) to values (P, 1, 1) and gradients (P, D, K)."""

_MEMORY = 12
_HALVINGS = 25
_ENOUGH = 1e-4  # of the descent that the slope promises


@dataclass(frozen=True, slots=True)
class _Pair:
    """A step and what it did to the gradient."""

    step: Tensor
    change: Tensor
    curvature: Tensor  # 1 / (step . change), 0 where there is none


def minimise(function: Function, start: Tensor, scale: Tensor, tolerance: float, most_steps: int) -> Tensor:
    """Points (P, D, K) where every problem expects to descend by less than `tolerance` from a further step.

    `scale`, which broadcasts to the points, is a guess of the inverse Hessian's diagonal.
    """
    point = start
    value, gradient = function(point)
    pairs: list[_Pair] = []
    for _ in range(most_steps):
        direction = -_newton(gradient, pairs, scale)
        slope = _dot(gradient, direction)
        active = -slope > tolerance
        if not active.any():
            break
        new_point, new_value, new_gradient = _search(function, point, value, direction, slope, active)
        step, change = new_point - point, new_gradient - gradient
        pairs = [*pairs[1 - _MEMORY :], _Pair(step, change, _inverse(_dot(step, change)))]
        point, value, gradient = new_point, new_value, new_gradient
        if not step.any():
            break  # rounding allows no further descent
    return point


def _search(
    function: Function, point: Tensor, value: Tensor, direction: Tensor, slope: Tensor, active: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The first of 1, 1/2, 1/4, ... that descends enough, per problem; 0 where none does or it is not active."""
    share = active.to(point.dtype)
    rounding = 4 * torch.finfo(point.dtype).eps * value.abs()
    for _ in range(_HALVINGS):
        candidate = point + share * direction
        found, gradient = function(candidate)
        good = found <= value + _ENOUGH * share * slope + rounding
        if good.all():
            return candidate, found, gradient
        share = torch.where(good, share, share / 2)
    candidate = point + torch.where(good, share, torch.zeros_like(share)) * direction
    return candidate, *function(candidate)


def _newton(gradient: Tensor, pairs: list[_Pair], scale: Tensor) -> Tensor:
    """The inverse Hessian that the pairs tell of, times the gradient: the two loops."""
    shares = []
    for pair in reversed(pairs):
        share = pair.curvature * _dot(pair.step, gradient)
        gradient = gradient - share * pair.change
        shares.append(share)
    result = scale * gradient
    if pairs:
        result = result * _size(pairs[-1], scale)
    for pair, share in zip(pairs, reversed(shares), strict=True):
        result = result + pair.step * (share - pair.curvature * _dot(pair.change, result))
    return result


def _size(pair: _Pair, scale: Tensor) -> Tensor:
    """By how much the last step found `scale` too small, (P, 1, 1)."""
    size = _inverse(pair.curvature * _dot(pair.change, scale * pair.change))
    return torch.where(size > 0, size, torch.ones_like(size))


def _inverse(values: Tensor) -> Tensor:
    positive = values > torch.finfo(values.dtype).tiny
    return torch.where(positive, 1 / values.where(positive, torch.ones_like(values)), torch.zeros_like(values))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum((1, 2), keepdim=True)
