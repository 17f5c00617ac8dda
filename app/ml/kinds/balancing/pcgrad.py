"""PCGrad: where two heads pull the backbone against each other, each gives up what goes against the other.

Yu et al., "Gradient surgery for multi-task learning", 2020. With g_t the gradient of head t's loss by the backbone,
for every t, going through the others in an order drawn anew,

    g <- g_t;   for each s != t:  if g . g_s < 0:  g <- g - (g . g_s / |g_s|^2) g_s

and the backbone follows the sum of the results, the heads their own gradients. All results are combinations of the
g_t, so that only the inner products are needed to find them.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from app.ml.interfaces import HeadConfig
from app.ml.kinds.balancing.base import Balance, BalancingConfig, Tasks, gradients, with_gradient


class PcGrad(BalancingConfig):
    """Project conflicting gradients onto each other's normal planes."""

    kind: Literal["pcgrad"] = "pcgrad"

    def build(self, heads: Sequence[HeadConfig]) -> "ProjectedGradients":
        """It has no state."""
        return ProjectedGradients()


class ProjectedGradients(Balance):
    """Draws the orders from torch's global generator."""

    def combine(self, tasks: Tasks) -> tuple[Tensor, Tensor]:
        """The sum of the losses, whose gradient is the projected one."""
        shared, own = gradients(tasks.losses, tasks.shared), gradients(tasks.losses, tasks.own)
        weights = projected(shared @ shared.T).sum(0)
        gradient = torch.cat([weights @ shared, own.sum(0)])
        return with_gradient(tasks.losses.sum(), [*tasks.shared, *tasks.own], gradient), weights


@torch.no_grad()
def projected(products: Tensor) -> Tensor:
    """Inner products (T, T) of gradients to what becomes of each, as weights of all of them: rows of (T, T)."""
    count = len(products)
    found = torch.eye(count, dtype=products.dtype, device=products.device)
    tiny = torch.finfo(products.dtype).tiny
    for task in range(count):
        for other in torch.randperm(count).tolist():
            if other != task:
                against = (found[task] @ products[other]).clamp(max=0)
                found[task, other] -= against / products[other, other].clamp(min=tiny)
    return found
