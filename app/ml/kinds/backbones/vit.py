"""A vision transformer: an image is a sequence of patches, each a linear map of its pixels plus its place.

Dosovitskiy et al., "An image is worth 16x16 words", 2021, by default with the mean of all patches as features instead
of a class token (appendix D.3 there) and places that begin as sinusoids of row and column. Images whose side is no
multiple of the patch are filled up with zeros below and at the right.

Learned tokens may stand before the patches: the first is the class token, others are DeiT's distillation token (Touvron
et al., 2021) or registers (Darcet et al., 2024). They have no place of their own, as they are learned anyway. Imported
weights (`app.ml.models.imports.vit`) have them.
"""

import math
from typing import Annotated, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from app.ml.blocks.attention import AttentionBlock
from app.ml.fields import Auto, Integer, Rate, Real
from app.ml.interfaces import Backbone, BackboneConfig, BackboneRequest, Choices, Encoding, ResolutionContext
from app.ml.interfaces.abilities import Ability, Patches
from app.ml.spec import ModalityKind

_MAX_PATCHES = 64  # the work grows with their square
_MIN_PATCH, _MAX_PATCH = 2, 128
_WAVES = 4  # sine and cosine of row and column
_STD = 0.02  # of fresh tokens, as published


Side = Annotated[Integer, Field(ge=1, le=_MAX_PATCH)]


class Vit(BackboneRequest):
    """A transformer over the patches of an image."""

    kind: Literal["vit"] = "vit"
    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    provides: ClassVar[frozenset[Ability]] = frozenset({"patches"})
    patch: Auto[Side] = Field(
        "auto", description="Side of a patch, in pixels; auto makes at most 64 patches of an image."
    )
    width: Integer = Field(128, ge=4, le=4096, description="Features of every patch, and of the image.")
    depth: Integer = Field(4, ge=1, le=64, description="Blocks.")
    heads: Integer = Field(4, ge=1, le=64, description="Attention heads; they share the width.")
    mlp_ratio: Integer = Field(2, ge=1, le=16, description="Width of a block's hidden layer, in widths.")
    dropout: Rate = Field(0.0, description="Share of activations dropped in every block while training.")
    tokens: Integer = Field(
        0, ge=0, le=64, description="Learned tokens before the patches: a class token, then others; 0: none."
    )
    pooling: Literal["mean", "first"] = Field(
        "mean", description="An image's features: the mean over its patches, or the first of the learned tokens."
    )
    epsilon: Real = Field(1e-5, gt=0, le=0.1, description="What is added to the variance in every norm.")

    @model_validator(mode="after")
    def _first_is_a_token(self) -> Self:
        if self.pooling == "first" and not self.tokens:
            msg = "pooling first takes the class token, and there is none: set tokens to 1, or pooling to mean"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _width_is_shared(self) -> Self:
        if self.width % self.heads or self.width % _WAVES:
            msg = f"the width must be a multiple of 4 and of the {self.heads} heads"
            raise ValueError(msg)
        return self

    @classmethod
    def resolved_type(cls) -> "type[ResolvedVit]":
        """Return the class that builds."""
        return ResolvedVit

    def choices(self, context: ResolutionContext) -> Choices:
        """The smallest patch that makes at most 64 of them."""
        sizes = range(_MIN_PATCH, _MAX_PATCH)
        fitting = (size for size in sizes if _count(context.shape[:2], size) <= _MAX_PATCHES)
        patch = next(fitting, _MAX_PATCH)
        return {"patch": (patch, f"{_count(context.shape[:2], patch)} patches an image")}


class ResolvedVit(Vit, BackboneConfig):
    """The same with a known size of patches."""

    patch: Side

    def build(self, encoding: Encoding) -> "VitBackbone":
        """Build it for (C, H, W) with fresh weights."""
        return VitBackbone(self, encoding)


class VitBackbone(Backbone, Patches):
    """(B, C, H, W) to (B, width)."""

    def __init__(self, config: ResolvedVit, encoding: Encoding) -> None:
        super().__init__()
        channels, height, width = encoding.shape
        self.encoding, self.patch = encoding, config.patch
        self.features = self.width = config.width
        # Rounded up: the image is padded to whole patches.
        rows, columns = -(-height // config.patch), -(-width // config.patch)
        self.padding = (0, columns * config.patch - width, 0, rows * config.patch - height)
        self.patch_count, self.patch_values = rows * columns, channels * config.patch**2
        # (P, width): learned, but they begin as sinusoids, so that neighbours are alike from the start.
        self.places = nn.Parameter(sinusoids(rows, columns, config.width))
        self.embed = nn.Linear(self.patch_values, config.width)
        hidden, epsilon = config.mlp_ratio * config.width, config.epsilon
        self.blocks = nn.ModuleList(
            AttentionBlock(config.width, config.heads, hidden, config.dropout, rotary=False, epsilon=epsilon)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, epsilon)
        self.token_count, self.pooling = config.tokens, config.pooling
        self.tokens = nn.Parameter(_STD * torch.randn(config.tokens, config.width)) if config.tokens else None

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to (B, width)."""
        return self.layers(inputs)[-1]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The mean over all patches, or the first token, after every block; the last one normalised."""
        outputs = self._run(self._embedded(self.patches(inputs), None))
        if self.pooling == "first":
            return [values[:, 0] for values in outputs]
        return [values[:, self.token_count :].mean(1) for values in outputs]

    def patches(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to raw patches (B, P, C * patch * patch), row by row."""
        return F.unfold(F.pad(inputs, self.padding), self.patch, stride=self.patch).transpose(1, 2)

    def encode_patches(self, patches: Tensor, places: Tensor) -> Tensor:
        """Raw patches (B, K, patch_values) at places int64 (B, K) to (B, K, width)."""
        return self._run(self._embedded(patches, places))[-1][:, self.token_count :]

    def _embedded(self, patches: Tensor, places: Tensor | None) -> Tensor:
        """The T learned tokens, then patches with their places: (B, T + K, width)."""
        values: Tensor = self.embed(patches)
        values = values + (self.places if places is None else self.places[places])
        if self.tokens is None:
            return values
        return torch.cat([self.tokens.to(values.dtype).expand(values.shape[0], -1, -1), values], dim=1)

    def _run(self, values: Tensor) -> list[Tensor]:
        """After every block, the last one normalised, each (B, T + K, width)."""
        outputs = []
        for block in self.blocks:
            values = block(values, None, causal=False)
            outputs.append(values)
        return [*outputs[:-1], self.norm(values)]


def sinusoids(rows: int, columns: int, width: int) -> Tensor:
    """Position embeddings (rows * columns, width): sine and cosine of row and column, wavelengths up to 10,000."""
    rates = 10_000.0 ** (-torch.arange(width // _WAVES) / max(width // _WAVES, 1))
    # A quarter of the width each: sine and cosine of the row, sine and cosine of the column.
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [torch.outer(place.flatten(), rates) for place in (row, column)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def _count(sides: tuple[int, ...], patch: int) -> int:
    return math.prod(math.ceil(side / patch) for side in sides)
