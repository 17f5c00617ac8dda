"""The result of a solver, and the scores that its penalty was chosen by."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Score:
    """The mean loss on held-out rows at one strength of the L2 penalty, and the standard error of that mean."""

    strength: float
    loss: float
    error: float


@dataclass(frozen=True, slots=True)
class Solution:
    """The optimum: outputs = features @ weight.T + bias."""

    weight: Tensor  # (K, F)
    bias: Tensor  # (K,)
    strength: float  # of the penalty: the optimum minimises sum(losses) + strength / 2 * |weight|^2
    scores: tuple[Score, ...]  # from the strongest penalty on; empty where nothing could be held out
    left_out: Tensor | None = None  # (N, K) errors of squared losses on rows left out, NaN where a number is unknown

    @property
    def loss(self) -> float | None:
        """The cross-validated loss of the chosen strength."""
        return min((score.loss for score in self.scores), default=None)

    @torch.no_grad()
    def copy_to(self, layer: nn.Linear) -> None:
        """Copy the optimum into a layer."""
        layer.weight.copy_(self.weight)
        layer.bias.copy_(self.bias)
