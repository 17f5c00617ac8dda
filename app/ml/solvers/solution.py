"""What fitting a head at once found: the best linear weights with their penalty, or the sizes of an estimator."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Outputs (n, K) for some of the rows, (n,) their numbers, each by the fold that did not know it."""

    rows: Tensor
    outputs: Tensor


class Fit(ABC):
    """How a head was fitted at once."""

    @property
    def out_of_fold(self) -> OutOfFold | None:
        """The outputs for rows that were left out, which calibrate the head; None where they are not kept."""
        return None

    @property
    @abstractmethod
    def loss(self) -> float | None:
        """The cross-validated loss; None where there is none."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """What was found, in words that follow "with"."""

    @property
    @abstractmethod
    def choices(self) -> Mapping[str, tuple[Any, str]]:
        """What was chosen, and why, by the field that it stands for."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """Everything but the weights."""


@dataclass(frozen=True, slots=True)
class Score:
    """The mean loss on held-out rows at one strength of the L2 penalty, and the standard error of that mean."""

    strength: float
    loss: float
    error: float


@dataclass(frozen=True, slots=True)
class Solution(Fit):
    """The optimum: outputs = features @ weight.T + bias."""

    weight: Tensor  # (K, F)
    bias: Tensor  # (K,)
    strength: float  # of the penalty: the optimum minimises sum(losses) + strength / 2 * |weight|^2
    scores: tuple[Score, ...]  # from the strongest penalty on; empty where nothing could be held out
    left_out: Tensor | None = None  # (N, K) errors of squared losses on rows left out, NaN where a number is unknown
    out_of_fold: OutOfFold | None = None  # at the chosen strength; None where nothing was held out, or it is not kept

    @property
    def loss(self) -> float | None:
        """The cross-validated loss of the chosen strength."""
        return min((score.loss for score in self.scores), default=None)

    def of_rows(self, known: Tensor) -> "Solution":
        """The same for N rows, of which those marked by `known`, bool (N,), were solved for."""
        if self.out_of_fold is None:
            return self
        rows = known.nonzero()[:, 0][self.out_of_fold.rows]
        return replace(self, out_of_fold=OutOfFold(rows, self.out_of_fold.outputs))

    @property
    def summary(self) -> str:
        """The penalty."""
        return f"an L2 penalty of {self.strength:.3g}"

    @property
    def choices(self) -> Mapping[str, tuple[Any, str]]:
        """The penalty."""
        reason = "the L2 penalty of the least loss in cross-validation on the train rows"
        return {"penalty": (self.strength, reason)}

    def as_json(self) -> dict[str, Any]:
        """The penalty and its scores."""
        scores = [
            {
                "strength": score.strength,
                "loss": round(score.loss, _DIGITS),
                "standard_error": round(score.error, _DIGITS),
            }
            for score in self.scores
        ]
        return {"strength": self.strength, "held_out_loss": self.loss, "scores": scores}

    @torch.no_grad()
    def copy_to(self, layer: nn.Linear) -> None:
        """Copy the optimum into a layer."""
        layer.weight.copy_(self.weight)
        layer.bias.copy_(self.bias)


@dataclass(frozen=True, slots=True)
class EstimatorFit(Fit):
    """A fitted estimator: its kind, its sizes, and what it chose by rows that it left out."""

    kind: str
    sizes: Mapping[str, float]
    chosen: Mapping[str, tuple[Any, str]] = field(default_factory=dict)  # by field: the value, and why
    loss: float | None = None
    left_out: Tensor | None = None  # (T,) root mean square error of standardised numbers on rows left out

    @property
    def summary(self) -> str:
        """The kind and its sizes."""
        sizes = ", ".join(f"{value:g} {name}" for name, value in self.sizes.items())
        return f"{self.kind} ({sizes})"

    @property
    def choices(self) -> Mapping[str, tuple[Any, str]]:
        """What was chosen."""
        return {f"estimator.{name}": choice for name, choice in self.chosen.items()}

    def as_json(self) -> dict[str, Any]:
        """The kind, the sizes and what was chosen."""
        chosen = {name: value for name, (value, _) in self.chosen.items()}
        return {"estimator": self.kind, **self.sizes, **chosen, "held_out_loss": self.loss}
