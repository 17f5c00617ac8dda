"""Fully connected layers."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from app.ml.blocks.activations import ActivationName, activation


def mlp_layers(
    sizes: Sequence[int], name: ActivationName, dropout: float = 0.0, *, last_is_linear: bool = False
) -> list[nn.Sequential]:
    """Build a Sequential(Linear, activation, Dropout) per layer of `sizes`; the last may be a mere Linear."""
    layers = []
    for index, (size, next_size) in enumerate(pairwise(sizes)):
        parts: list[nn.Module] = [nn.Linear(size, next_size)]
        if not (last_is_linear and index == len(sizes) - 2):
            parts.append(activation(name))
            if dropout > 0:
                parts.append(nn.Dropout(dropout))
        layers.append(nn.Sequential(*parts))
    return layers


def single_layer(layers: nn.Sequential) -> nn.Linear:
    """Return the only Linear of an MLP without hidden layers."""
    (layer,) = (module for module in layers.modules() if isinstance(module, nn.Linear))
    return layer


def last_layer_tensors(layers: nn.Sequential, name: str) -> frozenset[str]:
    """Return the names of weight and bias of the last Linear of an MLP that is kept as the attribute `name`."""
    linear = [place for place, module in layers.named_modules() if isinstance(module, nn.Linear)]
    return frozenset({f"{name}.{linear[-1]}.weight", f"{name}.{linear[-1]}.bias"})
