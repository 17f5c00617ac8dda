"""Convex losses of linear models, per row and with their slopes; P problems are looked at side by side."""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class RowLoss(Protocol):
    """What outputs (N, P, K) cost."""

    @property
    def outputs(self) -> int:
        """K."""
        ...

    @property
    def share(self) -> Tensor:
        """(N,) what a row counts in the mean."""
        ...

    @property
    def curvature(self) -> float:
        """About the second derivative, by an output."""
        ...

    def rows(self, outputs: Tensor) -> Tensor:
        """(N, P, K) to (N, P)."""
        ...

    def slopes(self, outputs: Tensor) -> Tensor:
        """The derivative by the outputs, (N, P, K)."""
        ...


@dataclass(frozen=True, slots=True)
class SoftmaxLoss:
    """Cross-entropy with soft labels: row n costs - sum_k mass[n, k] log softmax(outputs)[n, k]."""

    mass: Tensor  # (N, K)
    share: Tensor  # (N,)

    @property
    def outputs(self) -> int:
        """K."""
        return self.mass.shape[1]

    @property
    def curvature(self) -> float:
        """What p (1 - p) is at equal probabilities."""
        return (1 - 1 / self.outputs) / self.outputs if self.outputs > 1 else 1.0

    def rows(self, outputs: Tensor) -> Tensor:
        """(N, P, K) to (N, P)."""
        expected = torch.einsum("nk,npk->np", self.mass, outputs)
        return self.mass.sum(1, keepdim=True) * outputs.logsumexp(2) - expected

    def slopes(self, outputs: Tensor) -> Tensor:
        """(N, P, K)."""
        # In the layout that products leave, a softmax takes many times as long as its parts.
        shares = (outputs - outputs.logsumexp(2, keepdim=True)).exp()
        return shares * self.mass.sum(1)[:, None, None] - self.mass[:, None]


@dataclass(frozen=True, slots=True)
class SigmoidLoss:
    """Binary cross-entropy: output k of row n costs there_nk log(1 + e^-z) + gone_nk log(1 + e^z)."""

    there: Tensor  # (N, K) what counts for the label
    gone: Tensor  # (N, K) and against it; both are 0 where nobody knows
    share: Tensor  # (N,)
    curvature: float = 0.25

    @property
    def outputs(self) -> int:
        """K."""
        return self.there.shape[1]

    def rows(self, outputs: Tensor) -> Tensor:
        """(N, P, K) to (N, P)."""
        costs = self.there[:, None] * F.logsigmoid(outputs) + self.gone[:, None] * F.logsigmoid(-outputs)
        return -costs.sum(2)

    def slopes(self, outputs: Tensor) -> Tensor:
        """(N, P, K)."""
        return self.gone[:, None] * outputs.sigmoid() - self.there[:, None] * (-outputs).sigmoid()


@dataclass(frozen=True, slots=True)
class SquaredLoss:
    """Row n costs |outputs - wanted|^2 / 2."""

    wanted: Tensor  # (N, K)
    share: Tensor  # (N,)
    curvature: float = 1.0

    @property
    def outputs(self) -> int:
        """K."""
        return self.wanted.shape[1]

    def rows(self, outputs: Tensor) -> Tensor:
        """(N, P, K) to (N, P)."""
        return (outputs - self.wanted[:, None]).square().sum(2) / 2

    def slopes(self, outputs: Tensor) -> Tensor:
        """(N, P, K)."""
        return outputs - self.wanted[:, None]
