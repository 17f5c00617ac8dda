"""Convex losses of linear models per row, with their gradients by the outputs, for P problems side by side."""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor


class LinearLoss(Protocol):
    """The loss of outputs (P, K, N): P problems on the same N rows, K outputs each. Rows lie last, side by side."""

    @property
    def outputs(self) -> int:
        """K."""
        ...

    @property
    def share(self) -> Tensor:
        """Weight of each row in the mean loss, (N,)."""
        ...

    def to(self, dtype: torch.dtype) -> Self:
        """The same in another precision."""
        ...

    def rows(self, outputs: Tensor) -> Tensor:
        """Losses of the rows, (P, K, N) to (P, N)."""
        ...

    def rows_and_slopes(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the rows (P, N), and their derivatives by the outputs (P, K, N); `outputs` may be overwritten."""
        ...

    def curvatures(self, outputs: Tensor) -> Tensor:
        """Second derivatives of the losses, each by one output, (P, K, N)."""
        ...


@dataclass(frozen=True, slots=True)
class SoftmaxLoss:
    """Cross-entropy with soft labels: row n costs - sum_k mass[k, n] log softmax(outputs)[k, n]."""

    mass: Tensor  # (K, N)
    share: Tensor  # (N,)

    @property
    def outputs(self) -> int:
        """K."""
        return len(self.mass)

    def to(self, dtype: torch.dtype) -> "SoftmaxLoss":
        """The same in another precision."""
        return replace(self, mass=self.mass.to(dtype), share=self.share.to(dtype))

    def rows(self, outputs: Tensor) -> Tensor:
        """(P, K, N) to (P, N)."""
        return self.rows_and_slopes(outputs.clone())[0]

    def rows_and_slopes(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """(P, K, N) to (P, N) and (P, K, N)."""
        total_mass = self.mass.sum(0)  # (N,)
        shifted = outputs.sub_(outputs.amax(1, keepdim=True))
        expected = (self.mass * shifted).sum(1)
        exponentials = shifted.exp_()
        total = exponentials.sum(1, keepdim=True)  # (P, 1, N)
        # sum_k mass_k (logsumexp(z) - z_k): the normaliser is shared by the classes.
        return total_mass * total[:, 0].log() - expected, exponentials.mul_(total_mass / total).sub_(self.mass)

    def curvatures(self, outputs: Tensor) -> Tensor:
        """(P, K, N): p (1 - p)."""
        probabilities = outputs.softmax(1)
        return probabilities * (1 - probabilities) * self.mass.sum(0)


@dataclass(frozen=True, slots=True)
class SigmoidLoss:
    """Binary cross-entropy: output k of row n costs positive_kn log(1 + e^-z) + negative_kn log(1 + e^z)."""

    positive: Tensor  # (K, N) weight of the label where the row has it
    negative: Tensor  # (K, N) weight where the row lacks it; both are 0 where the label is missing
    share: Tensor  # (N,)

    @property
    def outputs(self) -> int:
        """K."""
        return len(self.positive)

    def to(self, dtype: torch.dtype) -> "SigmoidLoss":
        """The same in another precision."""
        return SigmoidLoss(self.positive.to(dtype), self.negative.to(dtype), self.share.to(dtype))

    def rows(self, outputs: Tensor) -> Tensor:
        """(P, K, N) to (P, N)."""
        return -(self.positive * F.logsigmoid(outputs) + self.negative * F.logsigmoid(-outputs)).sum(1)

    def rows_and_slopes(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """(P, K, N) to (P, N) and (P, K, N)."""
        # d/dz of -log sigmoid(z) is -sigmoid(-z), of -log sigmoid(-z) it is sigmoid(z): neither loses digits.
        slopes = self.negative * outputs.sigmoid() - self.positive * (-outputs).sigmoid()
        return self.rows(outputs), slopes

    def curvatures(self, outputs: Tensor) -> Tensor:
        """(P, K, N): p (1 - p)."""
        return (self.positive + self.negative) * outputs.sigmoid() * (-outputs).sigmoid()


@dataclass(frozen=True, slots=True)
class SquaredLoss:
    """Row n costs share_n |outputs - targets|^2 / 2."""

    targets: Tensor  # (K, N)
    share: Tensor  # (N,)

    @property
    def outputs(self) -> int:
        """K."""
        return len(self.targets)

    def to(self, dtype: torch.dtype) -> "SquaredLoss":
        """The same in another precision."""
        return SquaredLoss(self.targets.to(dtype), self.share.to(dtype))

    def rows(self, outputs: Tensor) -> Tensor:
        """(P, K, N) to (P, N)."""
        return self.share * (outputs - self.targets).square().sum(1) / 2

    def rows_and_slopes(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """(P, K, N) to (P, N) and (P, K, N)."""
        errors = outputs - self.targets
        return self.share * errors.square().sum(1) / 2, self.share * errors

    def curvatures(self, outputs: Tensor) -> Tensor:
        """(P, K, N): the share of the row."""
        return self.share.expand_as(outputs)
