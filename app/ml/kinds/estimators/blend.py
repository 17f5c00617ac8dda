"""A blend: the weighted mean of what several estimators answer on the same features.

    p = sum_m w_m softmax(z_m / T_m),   of numbers  o = sum_m w_m o_m

Different learners err on different rows, so that their mean is mostly better than the best of them, and hardly ever
much worse (Caruana et al., "Ensemble selection from libraries of models", 2004). The weights w and temperatures T are
part of the config: `automatic` finds them by answers to train rows that the members had not learned. Of classes the
raw output is log p.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.special import log_softmax, logsumexp
from torch import Tensor, nn

from app.ml.blocks.arrays import Array, ArrayLayer, HasArrayLayer
from app.ml.fields import Real
from app.ml.interfaces.resolvable import Choices
from app.ml.interfaces.values import CategoryFeatures
from app.ml.kinds.estimators.base import Estimator, EstimatorConfig, EstimatorContext, EstimatorRequest
from app.ml.kinds.estimators.boosted_trees import BoostedTrees
from app.ml.kinds.estimators.linear import LinearClasses, LinearNumbers
from app.ml.kinds.estimators.nearest_neighbours import NearestNeighbours
from app.ml.kinds.estimators.random_forest import RandomForest
from app.ml.kinds.estimators.ridge import Ridge
from app.ml.solvers.solution import EstimatorFit
from app.ml.spec import Frozen

_SECONDS_PER_NUMBER = 1e-6  # of solving for linear weights

AnyMember = Annotated[BoostedTrees | RandomForest | NearestNeighbours | Ridge, Field(discriminator="kind")]


class BlendMember(Frozen):
    """One of those that are blended, and how much it counts."""

    estimator: AnyMember | None = Field(None, description="What is learned; null: linear weights.")
    weight: Real = Field(1.0, gt=0, le=1e6, description="How much it counts, against the others' weights.")
    temperature: Real = Field(1.0, gt=0, le=1e6, description="What its logits are divided by; of classes alone.")


class Blend(EstimatorRequest):
    """Average several estimators."""

    kind: Literal["blend"] = "blend"
    members: Annotated[tuple[BlendMember, ...], Field(min_length=1, max_length=8)] = Field(
        (BlendMember(), BlendMember(estimator=RandomForest())), description="What is averaged."
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedBlend]":
        """Return the class that builds."""
        return ResolvedBlend

    def check(self, context: EstimatorContext) -> None:
        """Raise `ConfigError` where a member does not suit the rows."""
        for member in self.members:
            if member.estimator is not None:
                member.estimator.check(context)

    def settled(self, context: EstimatorContext) -> tuple["Blend", Choices]:
        """Settle the members."""
        members: list[BlendMember] = []
        choices: dict[str, tuple[Any, str]] = {}
        for index, member in enumerate(self.members):
            if member.estimator is None:
                members.append(member)
                continue
            estimator, chosen = member.estimator.settled(context)
            members.append(member.model_copy(update={"estimator": estimator}))
            choices |= {f"members.{index}.estimator.{name}": choice for name, choice in chosen.items()}
        return self.model_copy(update={"members": tuple(members)}), choices

    def settled_by_features(
        self, categories: Sequence[CategoryFeatures], outputs: int
    ) -> tuple["Blend", tuple[CategoryFeatures, ...]]:
        """Settle the members."""
        members: list[BlendMember] = []
        encoded: dict[CategoryFeatures, None] = {}
        for member in self.members:
            if member.estimator is None:
                members.append(member)
                continue
            estimator, chosen = member.estimator.settled_by_features(categories, outputs)
            members.append(member.model_copy(update={"estimator": estimator}))
            encoded |= dict.fromkeys(chosen)
        return self.model_copy(update={"members": tuple(members)}), tuple(encoded)


class ResolvedBlend(Blend, EstimatorConfig):
    """The same with known settings of its members."""

    def build_classifier(self, features: int, classes: int) -> "BlendOfClasses":
        """Build log probabilities."""
        return BlendOfClasses(
            self,
            [
                LinearClasses(features, classes)
                if member.estimator is None
                else member.estimator.resolved().build_classifier(features, classes)
                for member in self.members
            ],
        )

    def build_regressor(self, features: int, targets: int) -> "BlendOfNumbers":
        """Build numbers."""
        return BlendOfNumbers(
            self,
            [
                LinearNumbers(features, targets)
                if member.estimator is None
                else member.estimator.resolved().build_regressor(features, targets)
                for member in self.members
            ],
        )

    def seconds(self, rows: int, features: int, outputs: int) -> float:
        """Those of its members."""
        linear = _SECONDS_PER_NUMBER * rows * min(rows, features) * outputs
        return sum(
            linear if member.estimator is None else member.estimator.resolved().seconds(rows, features, outputs)
            for member in self.members
        )


def blended_classes(logits: Sequence[Tensor], temperatures: Sequence[float], shares: Sequence[float]) -> Tensor:
    """Logits (B, K) of members to log p (B, K); the shares add up to 1."""
    each = zip(logits, temperatures, shares, strict=True)
    return torch.stack([(values / by).log_softmax(1) + math.log(share) for values, by, share in each]).logsumexp(0)


def blended_numbers(numbers: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Numbers (B, T) of members to their mean, (B, T); the shares add up to 1."""
    return torch.stack([share * values for values, share in zip(numbers, shares, strict=True)]).sum(0)


class _Blend(HasArrayLayer, Estimator):
    """(B, F) to (B, K)."""

    def __init__(self, config: ResolvedBlend, members: Sequence[Estimator]) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(members)
        total = sum(member.weight for member in config.members)
        self.shares = tuple(member.weight / total for member in config.members)

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Fit each member by itself."""
        fits = [member.fit(features, target, weights) for member in self._each()]
        sizes = {f"{index}.{name}": size for index, fit in enumerate(fits) for name, size in fit.sizes.items()}
        return EstimatorFit(self.config.kind, {"members": len(fits), **sizes})

    def _each(self) -> list[Estimator]:
        return [member for member in self.members if isinstance(member, Estimator)]

    def _array_layers(self) -> list[ArrayLayer]:
        return [member.array_layer() for member in self.members if isinstance(member, HasArrayLayer)]


class BlendOfClasses(_Blend):
    """Log probabilities, (B, F) to (B, K)."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        temperatures = [member.temperature for member in self.config.members]
        return blended_classes([member(features) for member in self._each()], temperatures, self.shares)

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy."""
        temperatures = [np.float32(member.temperature) for member in self.config.members]
        each = list(zip(self._array_layers(), temperatures, np.log(self.shares), strict=True))

        def layer(features: Array) -> Array:
            logs = [log_softmax(member(features.copy()) / by, axis=1) + share for member, by, share in each]
            answers: Array = logsumexp(logs, axis=0).astype(np.float32)
            return answers

        return layer


class BlendOfNumbers(_Blend):
    """Standardised numbers, (B, F) to (B, T)."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, T)."""
        return blended_numbers([member(features) for member in self._each()], self.shares)

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy."""
        each = list(zip(self._array_layers(), map(np.float32, self.shares), strict=True))

        def layer(features: Array) -> Array:
            answers: Array = np.sum([share * member(features.copy()) for member, share in each], axis=0)
            return answers

        return layer
