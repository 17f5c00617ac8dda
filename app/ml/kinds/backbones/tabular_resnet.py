"""A residual network for tables, whose numbers enter by waves of several lengths.

    e_j = relu(W_j [sin(2 pi c_j x_j), cos(2 pi c_j x_j)] + b_j)     of every number x_j, its rates c_j ~ N(0, scale^2)
    z   = A [x, e_1, ..., e_M] + a
    z   = z + C relu(B norm(z) + b) + c     depth times;   the features are relu(norm(z))

Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning", 2022 (their PLR), and
Gorishniy et al., "Revisiting deep learning models for tabular data", 2021 (their ResNet, here with layer instead of
batch normalisation, so that rows do not depend on each other). A perceptron is nearly smooth in each number; waves let
it bend where the data does, as trees do. Here the encoded row itself enters next to them, so that nothing linear is
lost. Categories and flags have no waves.
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from app.ml.fields import Integer, Rate, Real
from app.ml.interfaces import Backbone, BackboneConfig, Encoding
from app.ml.interfaces.abilities import Ability, Mirrors
from app.ml.spec import ModalityKind


class TabularResNet(BackboneConfig):
    """Residual blocks over a row whose numbers are unfolded into waves."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("table",)
    provides: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    kind: Literal["tabular_resnet"] = "tabular_resnet"
    width: Integer = Field(128, ge=1, le=8192, description="Features between the blocks, and of the row.")
    depth: Integer = Field(1, ge=1, le=32, description="Residual blocks.")
    expansion: Integer = Field(2, ge=1, le=16, description="Width inside a block, as a multiple.")
    dropout: Rate = Field(0.1, description="Share of a block's inner activations dropped while training.")
    frequencies: Integer = Field(8, ge=1, le=256, description="Waves of every number.")
    embedding: Integer = Field(8, ge=1, le=256, description="Values that a number's waves become.")
    scale: Real = Field(
        0.1, gt=0, le=100, description="Deviation of the fresh rates, in waves per standard deviation of a number."
    )

    def build(self, encoding: Encoding) -> "TabularResNetBackbone":
        """Build it for (D,) with fresh weights."""
        return TabularResNetBackbone(self, encoding)


class TabularResNetBackbone(Backbone, Mirrors):
    """(B, D) to (B, width)."""

    def __init__(self, config: TabularResNet, encoding: Encoding) -> None:
        super().__init__()
        self.config, self.encoding, self.features = config, encoding, config.width
        (size,) = encoding.shape
        numbers = tuple(range(size)) if encoding.numbers is None else encoding.numbers
        self.waves = Waves(config, numbers) if numbers else None
        self.entrance = nn.Linear(size + len(numbers) * config.embedding, config.width)
        self.blocks = nn.ModuleList(TabularBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, inputs: Tensor) -> Tensor:
        """To (B, width)."""
        return self.layers(inputs)[-1]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The row before the blocks, after each block, and the features, (B, width) each."""
        values = self.entrance(inputs if self.waves is None else torch.cat([inputs, self.waves(inputs)], dim=1))
        features = [values]
        for block in self.blocks:
            values = block(values)
            features.append(values)
        return [*features, self.norm(values).relu()]

    def mirror(self) -> nn.Module:
        """As many blocks, behind a layer that undoes the last relu; rows come out as they are encoded."""
        width, (size,) = self.config.width, self.input_shape
        blocks = [TabularBlock(self.config) for _ in range(self.config.depth)]
        return nn.Sequential(nn.Linear(width, width), *blocks, nn.LayerNorm(width), nn.Linear(width, size))


class Waves(nn.Module):
    """The numbers among a row's features (B, D) to (B, M * embedding)."""

    places: Tensor  # int64 (M,)

    def __init__(self, config: TabularResNet, numbers: tuple[int, ...]) -> None:
        super().__init__()
        count, waves = len(numbers), 2 * config.frequencies
        self.register_buffer("places", torch.tensor(numbers, dtype=torch.int64))
        self.rates = nn.Parameter(config.scale * torch.randn(count, config.frequencies))
        limit = 1 / math.sqrt(waves)  # as nn.Linear of `waves` inputs begins
        self.weight = nn.Parameter(torch.empty(count, waves, config.embedding).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(count, config.embedding).uniform_(-limit, limit))

    def forward(self, inputs: Tensor) -> Tensor:
        """Embed each number by its own frequencies and its own linear layer, in order."""
        angles = 2 * math.pi * self.rates * inputs.index_select(1, self.places).unsqueeze(2)  # (B, M, frequencies)
        # (B, M, 2 * frequencies), then one matrix per number to (B, M, embedding).
        waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        embedded = torch.einsum("bmw,mwe->bme", waves, self.weight) + self.bias
        return embedded.relu().flatten(1)


class TabularBlock(nn.Module):
    """z + C relu(B norm(z) + b) + c, (B, width) to the same."""

    def __init__(self, config: TabularResNet) -> None:
        super().__init__()
        inner = config.expansion * config.width
        self.norm = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, inner)
        self.dropout = nn.Dropout(config.dropout)
        self.narrow = nn.Linear(inner, config.width)

    def forward(self, values: Tensor) -> Tensor:
        """Add the block's output to its input."""
        added: Tensor = self.narrow(self.dropout(self.widen(self.norm(values)).relu()))
        return values + added
