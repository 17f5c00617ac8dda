"""What heads have in common that are linear where they have no hidden layers."""

from collections.abc import Hashable
from functools import cached_property

from torch import nn

from app.ml.blocks.mlp import single_layer
from app.ml.blocks.standardize import Standardize
from app.ml.interfaces.abilities import Stackable, Stacked


class LinearOrDeep(Stackable):
    """A head that standardises features, (B, F), and sends them through `layers`: stackable where there is one."""

    standardize: Standardize
    layers: nn.Sequential

    @cached_property
    def stack_key(self) -> Hashable:
        """Linear heads of the same kind, and of as many features and outputs; a deep head is alone."""
        linear = [module for module in self.layers.modules() if isinstance(module, nn.Linear)]
        return (type(self), linear[0].weight.shape) if len(linear) == 1 else self

    @cached_property
    def folded(self) -> Stacked:
        """Weights (K, F) and biases (K,)."""
        return self.standardize.folded_into(single_layer(self.layers))
