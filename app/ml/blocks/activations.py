"""Activations by name."""

from typing import Literal

from torch import nn

ActivationName = Literal["relu", "gelu", "silu", "elu", "tanh", "sigmoid"]

_ACTIVATIONS: dict[ActivationName, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation(name: ActivationName) -> nn.Module:
    """A new activation module; the shape stays."""
    return _ACTIVATIONS[name]()
