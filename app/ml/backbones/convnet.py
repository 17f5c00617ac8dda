"""A convolutional network: strided convolutions, then one linear layer to the features.

LeCun et al., "Gradient-based learning applied to document recognition", 1998; strides instead of pooling after
Springenberg et al., "Striving for simplicity", 2015. Its mirror uses transposed convolutions (Zeiler et al.,
"Deconvolutional networks", 2010), so that any method makes a convolutional form of itself, e.g. the convolutional
autoencoder of Masci et al., 2011. A series is convolved in time, as in Wang, Yan and Oates, "Time series classification
from scratch with deep neural networks", 2017: its values where it was observed, 0 where it was not, and beside them the
channel that says which is which.
"""

import math
from typing import Annotated, Any, ClassVar, Literal

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from pydantic import Field
from torch import Tensor, nn

from app.ml.abilities import Ability, Mirrors
from app.ml.blocks.activations import ActivationName, activation
from app.ml.fields import Integer
from app.ml.interfaces import Backbone, BackboneConfig, Encoding, Shape
from app.ml.spec import ModalityKind

# layers() pools larger maps; coarser ones lose one to three points of a probe on 28 x 28 pixels
_POOLED_SIDE, _POOLED_STEPS = 7, 16
_MOST_GROUPS, _LEAST_IN_A_GROUP = 8, 4


class ConvNet(BackboneConfig):
    """Strided convolutions that halve the image or series, then a linear layer."""

    kind: Literal["convnet"] = "convnet"
    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "series")
    provides: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    channels: tuple[Annotated[Integer, Field(ge=1, le=2048)], ...] = Field(
        (32, 64, 128), min_length=1, max_length=8, description="Channels of each convolution; each halves its input."
    )
    kernel_size: Literal[3, 5, 7] = Field(3, description="Side of the convolutions' windows, in pixels or steps.")
    features: Integer = Field(128, ge=1, le=8192, description="Width of the last layer: the number of features.")
    activation: ActivationName = Field(
        "gelu",  # with relu more than half of a small autoencoder's features died
        description="Applied after every layer, the last included.",
    )
    norm: Literal["none", "group"] = Field("none", description="Normalisation after each convolution.")

    def build(self, encoding: Encoding) -> "ConvNetBackbone":
        """Build it for (C, H, W), or a series (C + 1, T), with fresh weights."""
        return ConvNetBackbone(self, encoding)


class ConvNetBackbone(Backbone, Mirrors):
    """(B, C, H, W), or a series (B, C + 1, T), to (B, F); side s of a map becomes ceil(s / 2) in each block."""

    def __init__(self, config: ConvNet, encoding: Encoding) -> None:
        super().__init__()
        self.config = config
        self.encoding = encoding
        self.features = config.features
        self.shapes = _map_shapes(encoding.shape, config.channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv(before, after, config.kernel_size), *_after_conv(after, config))
            for before, after in zip(self.shapes, self.shapes[1:], strict=False)
        )
        self.last = nn.Sequential(nn.Linear(math.prod(self.shapes[-1]), config.features), activation(config.activation))

    def forward(self, inputs: Tensor) -> Tensor:
        """To (B, F)."""
        maps = _seen(inputs)
        for block in self.blocks:
            maps = block(maps)
        return self.last(maps.flatten(1))  # type: ignore[no-any-return]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Each block's maps, pooled to at most 7 x 7 or 16 steps and flattened, then the features."""
        maps, found = _seen(inputs), []
        for block in self.blocks:
            maps = block(maps)
            found.append(_pooled(maps).flatten(1))
        return [*found, self.last(maps.flatten(1))]

    def mirror(self) -> nn.Module:
        """Transposed convolutions back to exactly the shape of the rows, linear at the end."""
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
        shapes.append((channel, *((side + 1) // 2 for side in shapes[-1][1:])))
    return shapes


def _is_series(shape: Shape) -> bool:
    return len(shape) == 2  # noqa: PLR2004 - (C + 1, T)


def _seen(inputs: Tensor) -> Tensor:
    """Images as they are; of a series nothing but what was observed."""
    return inputs * (inputs[:, -1:] > 0) if _is_series(inputs.shape[1:]) else inputs


def _pooled(maps: Tensor) -> Tensor:
    if _is_series(maps.shape[1:]):
        return F.adaptive_avg_pool1d(maps, min(maps.shape[2], _POOLED_STEPS))
    return F.adaptive_avg_pool2d(maps, (min(maps.shape[2], _POOLED_SIDE), min(maps.shape[3], _POOLED_SIDE)))


def _conv(before: Shape, after: Shape, kernel_size: int) -> nn.Module:
    kind = nn.Conv1d if _is_series(before) else nn.Conv2d
    return kind(before[0], after[0], kernel_size, stride=2, padding=kernel_size // 2)


def _transposed(before: Shape, after: Shape, kernel_size: int) -> nn.Module:
    # Without output padding a side s becomes 2 s - 1: one is added where the original side was even.
    extra = tuple(wide - (2 * narrow - 1) for narrow, wide in zip(before[1:], after[1:], strict=True))
    kind: Any = nn.ConvTranspose1d if _is_series(before) else nn.ConvTranspose2d
    module: nn.Module = kind(before[0], after[0], kernel_size, stride=2, padding=kernel_size // 2, output_padding=extra)
    return module


def _after_conv(maps: Shape, config: ConvNet) -> list[nn.Module]:
    norm = _group_norm(maps) if config.norm == "group" else []
    return [*norm, activation(config.activation)]


def _group_norm(maps: Shape) -> list[nn.Module]:
    """At most eight groups of at least four channels; none where a group would have no more than two values."""
    channels, values = maps[0], math.prod(maps[1:])
    groups = math.gcd(channels, _MOST_GROUPS)
    while groups > 1 and channels // groups < _LEAST_IN_A_GROUP:
        groups //= 2
    # A lone value normalises to 0 whatever it was, and of two only which one is larger would remain.
    return [nn.GroupNorm(groups, channels)] if channels // groups * values > 2 else []  # noqa: PLR2004
