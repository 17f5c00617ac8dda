"""A multilayer perceptron: h_i = activation(W_i h_{i-1} + b_i), after every layer, the last included.

Rosenblatt 1958; Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986.
Images are flattened. With `hidden` [256, 128] on 28 x 28 images an autoencoder is 784-256-128-256-784.
"""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.activations import ActivationName
from app.ml.blocks.mlp import mlp_layers
from app.ml.fields import Auto, Integer, Rate
from app.ml.interfaces import Backbone, BackboneConfig, BackboneRequest, Choices, Encoding, ResolutionContext
from app.ml.interfaces.abilities import Ability, Mirrors
from app.ml.spec import ModalityKind

_MANY_COLUMNS = 256
_USUAL, _OF_MANY_COLUMNS = (256, 128), (1024, 1024)  # columns are rebuilt from corrupted ones: nothing need be narrow


Widths = Annotated[tuple[Annotated[Integer, Field(ge=1, le=8192)], ...], Field(min_length=1, max_length=16)]


class Mlp(BackboneRequest):
    """A multilayer perceptron over the flattened row."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    provides: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    kind: Literal["mlp"] = "mlp"
    hidden: Auto[Widths] = Field("auto", description="Width of each layer; the last is the features.")
    activation: ActivationName = Field("relu", description="Applied after every layer, the last included.")
    dropout: Rate = Field(0.0, description="Share of activations dropped after each layer while training.")

    @classmethod
    def resolved_type(cls) -> "type[ResolvedMlp]":
        """Return the class that builds."""
        return ResolvedMlp

    def choices(self, context: ResolutionContext) -> Choices:
        """256 and 128, for tables of many columns 1024 twice."""
        values = math.prod(context.shape)
        hidden = _OF_MANY_COLUMNS if context.modality == "table" and values >= _MANY_COLUMNS else _USUAL
        return {"hidden": (hidden, f"a row has {values} values")}


class ResolvedMlp(Mlp, BackboneConfig):
    """The same with known widths."""

    hidden: Widths

    def build(self, encoding: Encoding) -> "MlpBackbone":
        """Build it with fresh weights."""
        return MlpBackbone(self, encoding)


class MlpBackbone(Backbone, Mirrors):
    """(B, *input_shape) to (B, hidden[-1])."""

    def __init__(self, config: ResolvedMlp, encoding: Encoding) -> None:
        super().__init__()
        self.config = config
        self.encoding = encoding
        self.hidden = config.hidden
        self.features = config.hidden[-1]
        sizes = (math.prod(encoding.shape), *config.hidden)
        self.blocks = nn.ModuleList(mlp_layers(sizes, config.activation, config.dropout))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, *input_shape) to (B, F)."""
        return self.layers(inputs)[-1]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The activations of every layer, each (B, hidden[i])."""
        values = inputs.flatten(1)
        activations = []
        for block in self.blocks:
            values = block(values)
            activations.append(values)
        return activations

    def dense_blocks(self) -> list[nn.Module]:
        """All of its blocks."""
        return list(self.blocks)

    def mirror(self) -> nn.Module:
        """The same widths backwards, linear at the end: (B, F) to (B, *input_shape)."""
        sizes = (*reversed(self.hidden), math.prod(self.input_shape))
        layers = mlp_layers(sizes, self.config.activation, self.config.dropout, last_is_linear=True)
        return nn.Sequential(*layers, nn.Unflatten(1, self.input_shape))
