"""GradNorm: weights such that every head pulls at the backbone about as hard, and harder where it lags behind.

Chen et al., "GradNorm: gradient normalization for adaptive loss balancing in deep multitask networks", 2018. On the
backbone's last stage W, with G_t = |d (w_t L_t) / dW| and the rate r_t = (L_t / L_t(0)) / mean of those ratios,

    log w_t <- log w_t - rate sign(G_t - mean(G) r_t^alpha) G_t / mean(G),  then all are scaled to sum to T

which is a step down the slope of sum_t |G_t - mean(G) r_t^alpha| by log w_t, the target held constant. The division
frees the step of the losses' units (the paper leaves that to Adam), the logarithm keeps weights above 0 and lets them
settle however far apart they lie. L_t(0) is the loss of the first batch with a target of head t; a batch without any
leaves its weight. Where the backbone is frozen all stay 1.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.fields import Real
from app.ml.interfaces import HeadConfig
from app.ml.kinds.balancing.base import BalancingConfig, LossBalancer, TaskLosses, gradients


class GradNorm(BalancingConfig):
    """Let every head's gradient be about as long, longer for those that learn slowly."""

    needs_positive: ClassVar[bool] = True
    kind: Literal["gradnorm"] = "gradnorm"
    alpha: Annotated[Real, Field(ge=0, le=10)] = Field(
        1.0, description="How much more a head pulls that lags behind; 0 makes all pull alike."
    )
    rate: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.025, description="How far the weights' logarithms move in a step."
    )

    def build(self, heads: Sequence[HeadConfig]) -> "NormedGradients":
        """All weights are 1 at first."""
        return NormedGradients(self, len(heads))


class NormedGradients(LossBalancer):
    """Weights (T,) and first losses (T,) are buffers, saved with the training."""

    reads_gradients: ClassVar[bool] = True

    weights: Tensor
    first: Tensor

    def __init__(self, config: GradNorm, heads: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("weights", torch.ones(heads))
        self.register_buffer("first", torch.full((heads,), -1.0))  # below 0: not seen yet

    def combine(self, tasks: TaskLosses) -> tuple[Tensor, Tensor]:
        """The weighted sum by the weights so far, which then move."""
        weights = self.weights.clone()
        total = (weights * tasks.losses).sum()
        if self.training and tasks.last:
            self._move(tasks)
        return total, weights

    @torch.no_grad()
    def _move(self, tasks: TaskLosses) -> None:
        losses, present = tasks.losses.detach(), tasks.present
        with torch.enable_grad():
            slopes = gradients(tasks.losses, tasks.last)
        norms = slopes.norm(dim=1)  # (T,): of the unweighted losses, so G_t = w_t * norm
        self.first.copy_(torch.where(present & (self.first < 0), losses, self.first))
        tiny = torch.finfo(losses.dtype).tiny
        ratios = losses / self.first.clamp(min=tiny)
        # r_t: above 1 for a head that has improved less than the others.
        pace = ratios / _mean(ratios, present).clamp(min=tiny)
        pulls = self.weights * norms
        typical = _mean(pulls, present)
        # The slope of sum_t |G_t - target_t| by log w_t is sign * G_t; divided by mean(G) it has no unit.
        step = torch.sign(pulls - typical * pace**self.config.alpha) * pulls / typical.clamp(min=tiny)
        # Heads without a target in this batch keep their log weight; then all weights sum to T.
        moved = self.weights * (-self.config.rate * step * present).exp()
        self.weights.copy_(moved * len(moved) / moved.sum())


def _mean(values: Tensor, present: Tensor) -> Tensor:
    return torch.where(present, values, 0).sum() / present.sum().clamp(min=1)
