"""What heads have in common that are linear where they have no hidden layers."""

from collections.abc import Hashable
from functools import cached_property

from torch import nn

from app.ml.blocks.arrays import ArrayLayer, array_layers, dense
from app.ml.blocks.mlp import single_layer
from app.ml.blocks.standardize import Standardize
from app.ml.interfaces.abilities import Stackable, Stacked


class LinearOrDeep(Stackable):
    """A head that standardises features, (B, F), and sends them through `layers`: stackable where there is one.

    It answers raw outputs of torch and of NumPy.
    """

    standardize: Standardize
    layers: nn.Sequential

    @cached_property
    def stack_key(self) -> Hashable:
        """Linear heads of the same kind, and of as many features and outputs; a deep head is alone."""
        linear = [module for module in self.layers.modules() if isinstance(module, nn.Linear)]
        return (type(self), linear[0].weight.shape) if len(linear) == 1 else self

    @property
    def array_layers(self) -> list[ArrayLayer] | None:
        """`forward` in NumPy, on the CPU; of a head whose weights change no more. None if it has unknown layers."""
        if self.stack_key is self:
            return array_layers([self.standardize, self.layers])
        return [dense(*self.folded)]

    @cached_property
    def folded(self) -> Stacked:
        """Weights (K, F) and biases (K,)."""
        weight, bias = self.standardize.folded_into(single_layer(self.layers))
        return weight.numpy(force=True), bias.numpy(force=True)
