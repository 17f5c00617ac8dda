"""Convex losses of linear models per row, with their gradients by the outputs, for P problems side by side."""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class LinearLoss(Protocol):
    """The loss of outputs (N, P, K): N rows, P problems on the same rows, K outputs each."""

    @property
    def outputs(self) -> int:
        """K."""
        ...

    @property
    def share(self) -> Tensor:
        """Weight of each row in the mean loss, (N,)."""
        ...

    @property
    def curvature(self) -> float:
        """Rough second derivative by one output: it scales the first step."""
        ...

    def rows(self, outputs: Tensor) -> Tensor:
        """Losses of the rows, (N, P, K) to (N, P)."""
        ...

    def slopes(self, outputs: Tensor) -> Tensor:
        """Derivatives of the losses by the outputs, (N, P, K)."""
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
        """The diagonal of the Hessian at equal probabilities, p (1 - p)."""
        return (1 - 1 / self.outputs) / self.outputs if self.outputs > 1 else 1.0

    def rows(self, outputs: Tensor) -> Tensor:
        """(N, P, K) to (N, P)."""
        # sum_k mass_k (logsumexp(z) - z_k): the normaliser is shared by the classes.
        expected = torch.einsum("nk,npk->np", self.mass, outputs)
        return self.mass.sum(1, keepdim=True) * outputs.logsumexp(2) - expected

    def slopes(self, outputs: Tensor) -> Tensor:
        """(N, P, K)."""
        # In the layout that products leave, a softmax takes many times as long as its parts.
        probabilities = (outputs - outputs.logsumexp(2, keepdim=True)).exp()
        return probabilities * self.mass.sum(1)[:, None, None] - self.mass[:, None]


@dataclass(frozen=True, slots=True)
class SigmoidLoss:
    """Binary cross-entropy: output k of row n costs positive_nk log(1 + e^-z) + negative_nk log(1 + e^z)."""

    positive: Tensor  # (N, K) weight of the label where the row has it
    negative: Tensor  # (N, K) weight where the row lacks it; both are 0 where the label is missing
    share: Tensor  # (N,)
    curvature: float = 0.25

    @property
    def outputs(self) -> int:
        """K."""
        return self.positive.shape[1]

    def rows(self, outputs: Tensor) -> Tensor:
        """(N, P, K) to (N, P)."""
        costs = self.positive[:, None] * F.logsigmoid(outputs) + self.negative[:, None] * F.logsigmoid(-outputs)
        return -costs.sum(2)

    def slopes(self, outputs: Tensor) -> Tensor:
        """(N, P, K)."""
        # d/dz of -log sigmoid(z) is -sigmoid(-z), of -log sigmoid(-z) it is sigmoid(z): neither loses digits.
        return self.negative[:, None] * outputs.sigmoid() - self.positive[:, None] * (-outputs).sigmoid()


@dataclass(frozen=True, slots=True)
class SquaredLoss:
    """Row n costs |outputs - targets|^2 / 2."""

    targets: Tensor  # (N, K)
    share: Tensor  # (N,)
    curvature: float = 1.0

    @property
    def outputs(self) -> int:
        """K."""
        return self.targets.shape[1]

    def rows(self, outputs: Tensor) -> Tensor:
        """(N, P, K) to (N, P)."""
        return (outputs - self.targets[:, None]).square().sum(2) / 2

    def slopes(self, outputs: Tensor) -> Tensor:
        """(N, P, K)."""
        return outputs - self.targets[:, None]
