"""Fully connected networks in NumPy: for a few rows, the calls of torch cost more than the arithmetic.

The arrays are views of the modules' weights: such a network takes no memory, and changes with its modules.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit
from torch import nn

from app.ml.blocks.standardize import Standardize

Array = NDArray[np.float32]
ArrayLayer = Callable[[Array], Array]
"""(B, F) to (B, F'). It may compute in place: its input is no longer used."""


class HasArrayLayer(ABC):
    """A module that has a form in NumPy of its own."""

    @abstractmethod
    def array_layer(self) -> ArrayLayer:
        """Return what the module, whose weights change no more, does on the CPU."""


def array_layers(modules: Iterable[nn.Module]) -> list[ArrayLayer] | None:
    """Return what modules in eval mode do one after another; None if one is not of those that are known here."""
    layers: list[ArrayLayer] = []
    for module in modules:
        if isinstance(module, nn.Sequential):
            inner = array_layers(module)
        elif isinstance(module, HasArrayLayer):
            inner = [module.array_layer()]
        else:
            inner = _LAYERS[type(module)](module) if type(module) in _LAYERS else None
        if inner is None:
            return None
        layers += inner
    return layers


def array_blocks(blocks: Iterable[nn.Module]) -> list[list[ArrayLayer]] | None:
    """Return what each of the modules does; None if one has no such form."""
    each = [array_layers([block]) for block in blocks]
    known = [layers for layers in each if layers is not None]
    return known if len(known) == len(each) else None


def dense(weight: Array, bias: Array | None) -> ArrayLayer:
    """Return the layer with weights (F', F) and biases (F',)."""
    transposed = weight.T
    if bias is None:
        return lambda values: values @ transposed

    def layer(values: Array) -> Array:
        values = values @ transposed
        values += bias
        return values

    return layer


def _linear(module: nn.Module) -> list[ArrayLayer]:
    assert isinstance(module, nn.Linear)
    return [dense(*(None if of is None else of.detach().numpy() for of in (module.weight, module.bias)))]


def _standardize(module: nn.Module) -> list[ArrayLayer]:
    assert isinstance(module, Standardize)
    mean, std = module.mean.numpy(), module.std.numpy()

    def layer(values: Array) -> Array:
        values = values - mean
        values /= std
        return values

    return [layer]


def _relu(values: Array) -> Array:
    return np.maximum(values, 0, out=values)


def _sigmoid(values: Array) -> Array:
    return expit(values, out=values)  # type: ignore[no-any-return]


def _tanh(values: Array) -> Array:
    return np.tanh(values, out=values)


def _silu(values: Array) -> Array:
    values *= expit(values)
    return values


def _gelu(module: nn.Module) -> list[ArrayLayer] | None:
    """X Phi(x); not its approximation by a tanh."""
    assert isinstance(module, nn.GELU)
    half_root = np.float32(np.sqrt(0.5))

    def layer(values: Array) -> Array:
        values *= (1 + erf(values * half_root)) / 2
        return values

    return [layer] if module.approximate == "none" else None


def _elu(module: nn.Module) -> list[ArrayLayer]:
    assert isinstance(module, nn.ELU)
    alpha = np.float32(module.alpha)
    return [lambda values: np.where(values > 0, values, alpha * np.expm1(np.minimum(values, 0)))]


_LAYERS: dict[type[nn.Module], Callable[[nn.Module], list[ArrayLayer] | None]] = {
    nn.Linear: _linear,
    Standardize: _standardize,
    nn.Dropout: lambda _: [],
    nn.Identity: lambda _: [],
    nn.ReLU: lambda _: [_relu],
    nn.Sigmoid: lambda _: [_sigmoid],
    nn.Tanh: lambda _: [_tanh],
    nn.SiLU: lambda _: [_silu],
    nn.GELU: _gelu,
    nn.ELU: _elu,
}
