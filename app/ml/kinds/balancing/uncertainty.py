"""Uncertainty weighting: heads whose labels are noisy count less, by a variance each that is learned.

Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses", 2018. With s_t = log of head t's
variance and L_t its loss,

    L = sum_t c_t exp(-s_t) L_t + s_t / 2,    c_t = 1/2 for a squared error, else 1

which is least at s_t = log(2 c_t L_t): every head then counts by 1 / L_t. A head without any target in the batch is
left out of the sum.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from app.ml.fields import Real
from app.ml.interfaces import HeadConfig, ParamGroup
from app.ml.kinds.balancing.base import BalancingConfig, LossBalancer, TaskLosses


class Uncertainty(BalancingConfig):
    """Learn how noisy every head's labels are, and give noisy ones less weight."""

    needs_positive: ClassVar[bool] = True
    kind: Literal["uncertainty"] = "uncertainty"
    lr_scale: Annotated[Real, Field(gt=0, le=1000)] = Field(
        10.0, description="Rate of the log variances, as a multiple of the learning rate."
    )

    def build(self, heads: Sequence[HeadConfig]) -> "LearnedVariances":
        """One variance a head, 1 at first."""
        return LearnedVariances([0.5 if head.squared_error else 1.0 for head in heads], self.lr_scale)


class LearnedVariances(LossBalancer):
    """Log variances (T,) are the only parameters."""

    factors: Tensor

    def __init__(self, factors: Sequence[float], lr_scale: float) -> None:
        super().__init__()
        self.lr_scale = lr_scale
        self.log_variances = nn.Parameter(torch.zeros(len(factors)))
        self.register_buffer("factors", torch.tensor(factors), persistent=False)

    def combine(self, tasks: TaskLosses) -> tuple[Tensor, Tensor]:
        """The negative log likelihood, but for constants."""
        weights = self.factors * (-self.log_variances).exp()
        terms = weights * tasks.losses + self.log_variances / 2
        return (terms * tasks.present).sum(), weights.detach()

    def groups(self) -> list[ParamGroup]:
        """The variances, which do not shrink."""
        return [ParamGroup([self.log_variances], self.lr_scale, decays=False)]
