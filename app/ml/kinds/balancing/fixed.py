"""Fixed weights: L = sum_t w_t L_t, as given."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.errors import ConfigError
from app.ml.fields import Name, Real
from app.ml.interfaces import HeadConfig
from app.ml.kinds.balancing.base import BalancingConfig, LossBalancer, TaskLosses

Weight = Annotated[Real, Field(gt=0, le=1e6)]


class Fixed(BalancingConfig):
    """Add the heads' losses up, each with a weight that stays."""

    kind: Literal["fixed"] = "fixed"
    weights: dict[Name, Weight] = Field(
        default_factory=dict,
        max_length=64,
        description="What a head's loss counts, by the head's name; others count 1.",
    )

    def check(self, heads: Sequence[HeadConfig]) -> None:
        """Raises `ConfigError` for a weight of a head that there is not."""
        known = [head.key for head in heads]
        for name in self.weights.keys() - set(known):
            msg = f"no head answers under the name {name!r}; there are {', '.join(map(repr, known))}"
            raise ConfigError(("weights", name), msg)

    def build(self, heads: Sequence[HeadConfig]) -> "FixedWeights":
        """Order the weights."""
        return FixedWeights([self.weights.get(head.key, 1.0) for head in heads])


class FixedWeights(LossBalancer):
    """Measures the weighted sum, too: it is what the user calls the loss."""

    weights: Tensor

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def combine(self, tasks: TaskLosses) -> tuple[Tensor, Tensor | None]:
        """The weighted sum."""
        return self.total(tasks.losses), None

    def total(self, losses: Tensor) -> Tensor:
        """The same."""
        return (self.weights * losses).sum()
