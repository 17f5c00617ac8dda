"""L-BFGS for several convex problems of one shape side by side (Liu and Nocedal, 1989).

Side by side they share every matrix product. Steps are halved until they descend enough (Armijo, 1966); a pair without
curvature is passed over. Each problem has its own step length, and a problem that has converged stays where it is.
The inverse Hessian is applied in its compact form (Byrd, Nocedal and Schnabel, 1994): four products with all pairs at
once instead of two loops over them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (P, D) to values (P, 1) and gradients (P, D)."""

_MEMORY = 12  # pairs that the inverse Hessian is estimated from
_HALVINGS = 25
_ARMIJO = 1e-4  # share of the descent that the slope promises, at least


def minimise(function: Function, start: Tensor, scale: Tensor, tolerance: float, max_steps: int) -> Tensor:
    """Points (P, D) where every problem expects to descend by less than `tolerance` from a further step.

    `scale` (P, D) is a guess of the inverse Hessian's diagonal.
    """
    point = start
    value, gradient = function(point)
    pairs = _Pairs.empty(scale)
    for number in range(max_steps):
        direction = -pairs.times_inverse_hessian(gradient)
        slope = _dot(gradient, direction)  # (P, 1), below 0: what a whole step promises
        active = -slope > tolerance
        if not active.any():
            break
        new_point, new_value, new_gradient = _line_search(function, point, value, direction, slope, active)
        step = new_point - point
        if not step.any():
            break  # rounding allows no further descent
        pairs.add(number, step, new_gradient - gradient)
        point, value, gradient = new_point, new_value, new_gradient
    return point


def _line_search(
    function: Function, point: Tensor, value: Tensor, direction: Tensor, slope: Tensor, active: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the first step length of 1, 1/2, 1/4, ... that descends enough, per problem; return point, value, gradient.

    The length is 0 where none does, and for problems that are not active.
    """
    length = active.to(point.dtype)  # (P, 1)
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


@dataclass(slots=True)
class _Pairs:
    """The last M steps s and changes y of the gradient along them, in slots that the newest takes from the oldest."""

    scale: Tensor  # (P, D)
    steps: Tensor  # (P, M, D); 0 for a pair without curvature, which leaves it out
    changes: Tensor  # (P, M, D), likewise
    products: Tensor  # (P, M, M): s_i . y_j by slot, and 1 in the place of s_i . y_i of a pair that is left out
    correction: Tensor  # (P, 1): by how much the newest pair shows `scale` to be too small
    order: list[int]  # slots from the oldest pair to the newest

    @classmethod
    def empty(cls, scale: Tensor) -> "_Pairs":
        """Room for `_MEMORY` pairs."""
        problems, size = scale.shape
        steps = scale.new_zeros(problems, _MEMORY, size)
        products = scale.new_zeros(problems, _MEMORY, _MEMORY)
        return cls(scale, steps, torch.zeros_like(steps), products, scale.new_ones(problems, 1), [])

    def add(self, number: int, step: Tensor, change: Tensor) -> None:
        """Keep the pair (P, D) of this step number instead of the oldest one."""
        slot = number % _MEMORY
        curvature = _dot(step, change)  # (P, 1)
        bent = curvature > torch.finfo(curvature.dtype).tiny
        scaled = _dot(change, self.scale * change)
        known = bent & (scaled > torch.finfo(curvature.dtype).tiny)
        self.correction = torch.where(known, curvature / scaled, 1.0)
        self.steps[:, slot], self.changes[:, slot] = step * bent, change * bent
        self.order = [*(other for other in self.order if other != slot), slot]
        # Against every pair that is kept, this one included: a column and a row of the products.
        self.products[:, :, slot] = (self.steps @ self.changes[:, slot, :, None])[:, :, 0]
        self.products[:, slot, :] = (self.changes @ self.steps[:, slot, :, None])[:, :, 0]
        self.products[:, slot, slot] = torch.where(bent, curvature, 1.0)[:, 0]

    def times_inverse_hessian(self, gradient: Tensor) -> Tensor:
        """Multiply the gradient (P, D) with the inverse Hessian that the pairs imply, (P, D)."""
        scale = self.scale * self.correction
        if not self.order:
            return scale * gradient
        used = len(self.order)
        by_age = self.products[:, self.order][:, :, self.order].triu()  # R, (P, m, m)
        steps, changes = self.steps[:, :used], self.changes[:, :used]  # by slot
        # u = R^-1 S'g; then with q = g - Y u the result is H0 q + S R^-T (diag(R) u - Y' H0 q).
        along = (steps @ gradient[:, :, None])[:, self.order]  # (P, m, 1)
        solved = torch.linalg.solve_triangular(by_age, along, upper=True)
        by_slot = torch.empty_like(solved)
        by_slot[:, self.order] = solved
        result = scale * (gradient - (changes.mT @ by_slot)[:, :, 0])
        back = by_age.diagonal(dim1=1, dim2=2)[:, :, None] * solved - (changes @ result[:, :, None])[:, self.order]
        by_slot[:, self.order] = torch.linalg.solve_triangular(by_age.mT, back, upper=False)
        return result + (steps.mT @ by_slot)[:, :, 0]


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner products per problem: (P, D), (P, D) to (P, 1)."""
    return (first * second).sum(1, keepdim=True)
