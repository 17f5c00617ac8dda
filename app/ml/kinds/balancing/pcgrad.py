"""PCGrad: where two heads pull the backbone against each other, each gives up what goes against the other.

Yu et al., "Gradient surgery for multi-task learning", 2020. With g_t the gradient of head t's loss by the backbone,
for every t, going through the others in an order drawn anew,

    g <- g_t;   for each s != t:  if g . g_s < 0:  g <- g - (g . g_s / |g_s|^2) g_s

and the backbone follows the sum of the results, the heads their own gradients. All results are combinations of the
g_t, so that only the inner products are needed to find them.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from app.ml.blocks.shards import drawn_together
from app.ml.interfaces import HeadConfig
from app.ml.kinds.balancing.base import BalancingConfig, LossBalancer, TaskLosses, gradients, with_gradient


class PcGrad(BalancingConfig):
    """Project conflicting gradients onto each other's normal planes."""

    kind: Literal["pcgrad"] = "pcgrad"

    def build(self, heads: Sequence[HeadConfig]) -> "ProjectedGradients":
        """It has no state."""
        return ProjectedGradients()


class ProjectedGradients(LossBalancer):
    """Draws the orders from torch's global generator."""

    reads_gradients: ClassVar[bool] = True

    def combine(self, tasks: TaskLosses) -> tuple[Tensor, Tensor]:
        """The sum of the losses, whose gradient is the projected one."""
        shared, own = gradients(tasks.losses, tasks.shared), gradients(tasks.losses, tasks.own)
        # (T, D) gradients; the sum of the projected ones is a weighted sum of the plain ones.
        weights = projected(shared @ shared.T).sum(0)
        gradient = torch.cat([weights @ shared, own.sum(0)])
        return with_gradient(tasks.losses.sum(), [*tasks.shared, *tasks.own], gradient), weights


@torch.no_grad()
def projected(products: Tensor) -> Tensor:
    """From inner products of T gradients (T, T): row t holds the projected gradient t as weights of the plain ones."""
    count = len(products)
    weights = torch.eye(count, dtype=products.dtype, device=products.device)
    tiny = torch.finfo(products.dtype).tiny
    # Only inner products matter: row t holds g_t's projection as a combination of all gradients, at first g_t itself.
    for task in range(count):
        for other in drawn_together(lambda: torch.randperm(count)).tolist():
            if other != task:
                # g_t . g_o below 0: take off the part of g_t along g_o.
                conflict = (weights[task] @ products[other]).clamp(max=0)
                weights[task, other] -= conflict / products[other, other].clamp(min=tiny)
    return weights
