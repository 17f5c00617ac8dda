"""L-BFGS for several convex problems of one shape side by side (Liu and Nocedal, 1989).

Side by side they share every matrix product. Steps are halved until they descend enough (Armijo, 1966); a pair without
curvature is passed over. Each problem has its own step length, and a problem that has converged stays where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (P, D, K) to values (P, 1, 1) and gradients (P, D, K)."""

_MEMORY = 12  # pairs that the inverse Hessian is estimated from
_HALVINGS = 25
_ARMIJO = 1e-4  # share of the descent that the slope promises, at least


@dataclass(frozen=True, slots=True)
class _Pair:
    """A step s and the change y of the gradient along it, each (P, D, K)."""

    step: Tensor
    change: Tensor
    inverse_curvature: Tensor  # 1 / (s . y), (P, 1, 1); 0 where there is no curvature, which leaves the pair out


def minimise(function: Function, start: Tensor, scale: Tensor, tolerance: float, max_steps: int) -> Tensor:
    """Points (P, D, K) where every problem expects to descend by less than `tolerance` from a further step.

    `scale`, which broadcasts to the points, is a guess of the inverse Hessian's diagonal.
    """
    point = start
    value, gradient = function(point)
    pairs: list[_Pair] = []
    for _ in range(max_steps):
        direction = -_times_inverse_hessian(gradient, pairs, scale)
        slope = _dot(gradient, direction)  # (P, 1, 1), below 0: what a whole step promises
        active = -slope > tolerance
        if not active.any():
            break
        new_point, new_value, new_gradient = _line_search(function, point, value, direction, slope, active)
        step, change = new_point - point, new_gradient - gradient
        pairs = [*pairs[1 - _MEMORY :], _Pair(step, change, _inverse(_dot(step, change)))]
        point, value, gradient = new_point, new_value, new_gradient
        if not step.any():
            break  # rounding allows no further descent
    return point


def _line_search(
    function: Function, point: Tensor, value: Tensor, direction: Tensor, slope: Tensor, active: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the first step length of 1, 1/2, 1/4, ... that descends enough, per problem; return point, value, gradient.

    The length is 0 where none does, and for problems that are not active.
    """
    length = active.to(point.dtype)  # (P, 1, 1)
    # Near the optimum a descent is smaller than the rounding of the value: without this slack none would be accepted.
    rounding = 4 * torch.finfo(point.dtype).eps * value.abs()
    for _ in range(_HALVINGS):
        candidate = point + length * direction
        new_value, gradient = function(candidate)
        accepted = new_value <= value + _ARMIJO * length * slope + rounding
        if accepted.all():
            return candidate, new_value, gradient
        length = torch.where(accepted, length, length / 2)
    candidate = point + torch.where(accepted, length, torch.zeros_like(length)) * direction
    return candidate, *function(candidate)


def _times_inverse_hessian(gradient: Tensor, pairs: list[_Pair], scale: Tensor) -> Tensor:
    """Multiply the gradient with the inverse Hessian that the pairs imply: the two-loop recursion, (P, D, K)."""
    coefficients = []
    # First loop, from the newest pair to the oldest: take off what the pairs explain.
    for pair in reversed(pairs):
        coefficient = pair.inverse_curvature * _dot(pair.step, gradient)
        gradient = gradient - coefficient * pair.change
        coefficients.append(coefficient)
    # In between the guessed diagonal, corrected by the newest pair.
    result = scale * gradient
    if pairs:
        result = result * _scale_correction(pairs[-1], scale)
    # Second loop, from the oldest to the newest: put it back as steps.
    for pair, coefficient in zip(pairs, reversed(coefficients), strict=True):
        result = result + pair.step * (coefficient - pair.inverse_curvature * _dot(pair.change, result))
    return result


def _scale_correction(pair: _Pair, scale: Tensor) -> Tensor:
    """(s . y) / (y . scale y), (P, 1, 1): by how much the last step shows `scale` to be too small; 1 if it cannot."""
    correction = _inverse(pair.inverse_curvature * _dot(pair.change, scale * pair.change))
    return torch.where(correction > 0, correction, torch.ones_like(correction))


def _inverse(values: Tensor) -> Tensor:
    """1 / values where they are positive, else 0."""
    positive = values > torch.finfo(values.dtype).tiny
    return torch.where(positive, 1 / values.where(positive, torch.ones_like(values)), torch.zeros_like(values))


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner products per problem: (P, D, K), (P, D, K) to (P, 1, 1)."""
    return (first * second).sum((1, 2), keepdim=True)
