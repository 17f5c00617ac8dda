"""The base classes of estimators: what a head can learn on fixed features besides weights."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from app.ml.interfaces.resolvable import Choices, Complete, Config
from app.ml.interfaces.values import CategoryFeatures
from app.ml.solvers.solution import EstimatorFit


@dataclass(frozen=True, slots=True)
class EstimatorContext:
    """What the resolution of `"auto"` fields depends on."""

    rows: int  # labelled train rows
    outputs: int  # classes, or numbers
    classifies: bool


class EstimatorRequest(Config, ABC):
    """A choice of estimator, in which fields may be "auto"."""

    @classmethod
    @abstractmethod
    def resolved_type(cls) -> "type[EstimatorConfig]":
        """Return the class with nothing left to choose."""

    def check(self, context: EstimatorContext) -> None:
        """Raise `ConfigError` where it does not suit the rows; fields are named relative to it."""

    def choices(self, context: EstimatorContext) -> Choices:
        """Return what each field that may be "auto" becomes, and why."""
        return {}

    def settled(self, context: EstimatorContext) -> tuple[Self, Choices]:
        """Fill fields that are "auto", and return them with their reasons. Raises `ConfigError`."""
        self.check(context)
        choices = {name: choice for name, choice in self.choices(context).items() if getattr(self, name) == "auto"}
        return self.model_copy(update={name: value for name, (value, _) in choices.items()}), choices

    def settled_by_features(
        self, categories: Sequence[CategoryFeatures], outputs: int
    ) -> tuple[Self, tuple[CategoryFeatures, ...]]:
        """Settle what depends on the features of columns of categories; return these, where they are encoded.

        By default nothing does. Raises `ConfigError`.
        """
        del categories, outputs
        return self, ()

    def resolved(self) -> "EstimatorConfig":
        """Return the config with nothing left to choose, of which `settled` has chosen."""
        return self.resolved_type().model_validate(dict(self))


class EstimatorConfig(Complete, EstimatorRequest, ABC):
    """A choice of estimator with nothing left to choose."""

    @abstractmethod
    def build_classifier(self, features: int, classes: int) -> "Estimator":
        """Build one that answers logits, (B, F) to (B, K); logits are 0 until it is fitted."""

    @abstractmethod
    def build_regressor(self, features: int, targets: int) -> "Estimator":
        """Build one that answers numbers, (B, F) to (B, T); they are 0 until it is fitted."""

    @abstractmethod
    def seconds(self, rows: int, features: int, outputs: int) -> float:
        """Return about how many CPU seconds fitting takes."""


class Estimator(nn.Module, ABC):
    """(B, F) to (B, K), in eval mode and in training alike: it has no parameters."""

    @abstractmethod
    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Learn from rows (n, F), weighted by (n,).

        `target` has classes int64 (n,), all known, or standardised numbers float64 (n, T), NaN being unknown.
        """


def drawn_seed() -> int:
    """Draw a seed for another library from torch's global generator, so that a training repeats it."""
    return int(torch.randint(2**31 - 1, ()))
