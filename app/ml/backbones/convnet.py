"""A convolutional network: strided convolutions, then one linear layer to the features.

LeCun et al., "Gradient-based learning applied to document recognition", 1998; strides instead of pooling after
Springenberg et al., "Striving for simplicity", 2015. Its mirror uses transposed convolutions (Zeiler et al.,
"Deconvolutional networks", 2010), so that any method makes a convolutional form of itself, e.g. the convolutional
autoencoder of Masci et al., 2011.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from pydantic import Field
from torch import Tensor, nn

from app.ml.abilities import Ability, Mirrors
from app.ml.blocks.activations import ActivationName, activation
from app.ml.fields import Integer
from app.ml.interfaces import Backbone, BackboneConfig, Encoding, Shape
from app.ml.spec import ModalityKind

_POOLED_SIDE = 7  # layers() pools larger maps; coarser ones lose one to three points of a probe on 28 x 28 pixels
_MOST_GROUPS, _LEAST_IN_A_GROUP = 8, 4


class ConvNet(BackboneConfig):
    """Strided convolutions that halve the image, then a linear layer."""

    kind: Literal["convnet"] = "convnet"
    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    provides: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    channels: tuple[Annotated[Integer, Field(ge=1, le=2048)], ...] = Field(
        (32, 64, 128), min_length=1, max_length=8, description="Channels of each convolution; each halves the image."
    )
    kernel_size: Literal[3, 5, 7] = Field(3, description="Side of the convolutions' windows, in pixels.")
    features: Integer = Field(128, ge=1, le=8192, description="Width of the last layer: the number of features.")
    activation: ActivationName = Field(
        "gelu",  # with relu more than half of a small autoencoder's features died
        description="Applied after every layer, the last included.",
    )
    norm: Literal["none", "group"] = Field("none", description="Normalisation after each convolution.")

    def build(self, encoding: Encoding) -> "ConvNetBackbone":
        """Build it for (C, H, W) with fresh weights."""
        return ConvNetBackbone(self, encoding)


class ConvNetBackbone(Backbone, Mirrors):
    """(B, C, H, W) to (B, F); a map of side s becomes one of side ceil(s / 2) in each block."""

    def __init__(self, config: ConvNet, encoding: Encoding) -> None:
        super().__init__()
        self.config = config
        self.encoding = encoding
        self.features = config.features
        self.shapes = _map_shapes(encoding.shape, config.channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv(before[0], after[0], config.kernel_size), *_after_conv(after, config))
            for before, after in zip(self.shapes, self.shapes[1:], strict=False)
        )
        self.last = nn.Sequential(nn.Linear(math.prod(self.shapes[-1]), config.features), activation(config.activation))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F)."""
        maps = inputs
        for block in self.blocks:
            maps = block(maps)
        return self.last(maps.flatten(1))  # type: ignore[no-any-return]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Each block's maps, pooled to at most 7 x 7 and flattened, then the features."""
        maps, found = inputs, []
        for block in self.blocks:
            maps = block(maps)
            side = (min(maps.shape[2], _POOLED_SIDE), min(maps.shape[3], _POOLED_SIDE))
            found.append(F.adaptive_avg_pool2d(maps, side).flatten(1))
        return [*found, self.last(maps.flatten(1))]

    def mirror(self) -> nn.Module:
        """Transposed convolutions back to exactly (B, C, H, W), linear at the end."""
        config, top = self.config, self.shapes[-1]
        parts: list[nn.Module] = [
            nn.Linear(config.features, math.prod(top)),
            activation(config.activation),
            nn.Unflatten(1, top),
        ]
        backwards = list(zip(self.shapes[::-1], self.shapes[-2::-1], strict=False))
        for before, after in backwards:
            parts.append(_transposed(before, after, config.kernel_size))
            if after is not self.shapes[0]:
                parts.extend(_after_conv(after, config))
        return nn.Sequential(*parts)


def _map_shapes(input_shape: Shape, channels: tuple[int, ...]) -> list[Shape]:
    shapes = [input_shape]
    for channel in channels:
        _, height, width = shapes[-1]
        shapes.append((channel, (height + 1) // 2, (width + 1) // 2))
    return shapes


def _conv(before: int, after: int, kernel_size: int) -> nn.Module:
    return nn.Conv2d(before, after, kernel_size, stride=2, padding=kernel_size // 2)


def _transposed(before: Shape, after: Shape, kernel_size: int) -> nn.Module:
    # Without output padding a side s becomes 2 s - 1: one pixel is added where the original side was even.
    extra = tuple(after[axis] - (2 * before[axis] - 1) for axis in (1, 2))
    return nn.ConvTranspose2d(
        before[0], after[0], kernel_size, stride=2, padding=kernel_size // 2, output_padding=(extra[0], extra[1])
    )


def _after_conv(maps: Shape, config: ConvNet) -> list[nn.Module]:
    norm = _group_norm(maps) if config.norm == "group" else []
    return [*norm, activation(config.activation)]


def _group_norm(maps: Shape) -> list[nn.Module]:
    """At most eight groups of at least four channels; none where a group would have no more than two values."""
    channels, height, width = maps
    groups = math.gcd(channels, _MOST_GROUPS)
    while groups > 1 and channels // groups < _LEAST_IN_A_GROUP:
        groups //= 2
    # A lone value normalises to 0 whatever it was, and of two only which one is larger would remain.
    return [nn.GroupNorm(groups, channels)] if channels // groups * height * width > 2 else []  # noqa: PLR2004
