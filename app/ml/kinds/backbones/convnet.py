"""A convolutional network: strided convolutions, then one linear layer to the features.

LeCun et al., "Gradient-based learning applied to document recognition", 1998; strides instead of pooling after
Springenberg et al., "Striving for simplicity", 2015. Its mirror uses transposed convolutions (Zeiler et al.,
"Deconvolutional networks", 2010), so that any method makes a convolutional form of itself, e.g. the convolutional
autoencoder of Masci et al., 2011. A series is convolved in time, as in Wang, Yan and Oates, "Time series classification
from scratch with deep neural networks", 2017: its values where it was observed, 0 where it was not, with a channel that
says which is which.

`norm: contrast` sees no brightness: a convolution has no bias, what it answers is normalised over the channels at each
place, and the first windows over an image have weights of mean 0. So many maps are silent at every place, and weak
edges count as much as strong ones, as behind the patches of Coates, Lee and Ng, 2011.
"""

import math
from typing import Annotated, Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.activations import ActivationName, activation
from app.ml.blocks.norms import ChannelNorm, ContrastConv2d
from app.ml.fields import Integer
from app.ml.interfaces import Backbone, BackboneConfig, Encoding, Shape
from app.ml.interfaces.abilities import Ability, Mirrors
from app.ml.spec import ModalityKind

# layers() pools larger maps; coarser ones lose one to three points of a probe on 28 x 28 pixels
_POOLED_SIDE, _POOLED_STEPS = 7, 16
_MAX_GROUPS, _MIN_IN_A_GROUP = 8, 4


class ConvNet(BackboneConfig):
    """Strided convolutions that halve the image or series, then a linear layer."""

    kind: Literal["convnet"] = "convnet"
    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "series")
    min_side: ClassVar[int] = 4
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
    norm: Literal["none", "group", "contrast"] = Field(
        "none",
        description="Normalisation after each convolution: group, over groups of channels; contrast, over the channels "
        "at each place, and the first windows over an image weigh its pixels with a mean of 0.",
    )
    first_stride: Integer = Field(
        2, ge=1, le=2, description="Of the first convolution; 1 keeps an image's size, for four times the work."
    )

    def build(self, encoding: Encoding) -> "ConvNetBackbone":
        """Build it for (C, H, W), or a series (C + 1, T), with fresh weights."""
        return ConvNetBackbone(self, encoding)


class ConvNetBackbone(Backbone, Mirrors):
    """(B, C, H, W), or a series (B, C + 1, T), to (B, F); a stride of 2 makes ceil(s / 2) of a side s."""

    def __init__(self, config: ConvNet, encoding: Encoding) -> None:
        super().__init__()
        self.config = config
        self.encoding = encoding
        self.features = config.features
        self.shapes = _map_shapes(encoding.shape, config)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                _conv(before, after, config, stride, first=before is encoding.shape), *_after_conv(after, config)
            )
            for before, after, stride in zip(self.shapes, self.shapes[1:], _strides(config), strict=False)
        )
        self.last = nn.Sequential(nn.Linear(math.prod(self.shapes[-1]), config.features), activation(config.activation))

    def forward(self, inputs: Tensor) -> Tensor:
        """To (B, F)."""
        maps = _observed(inputs)
        for block in self.blocks:
            maps = block(maps)
        return self.last(maps.flatten(1))  # type: ignore[no-any-return]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Each block's maps, pooled to at most 7 x 7 or 16 steps and flattened, then the features."""
        maps, pooled_maps = _observed(inputs), []
        for block in self.blocks:
            maps = block(maps)
            pooled_maps.append(_pooled(maps).flatten(1))
        return [*pooled_maps, self.last(maps.flatten(1))]

    def mirror(self) -> nn.Module:
        """Transposed convolutions back to exactly the shape of the rows, linear at the end."""
        config, top = self.config, self.shapes[-1]
        parts: list[nn.Module] = [
            nn.Linear(config.features, math.prod(top)),
            activation(config.activation),
            nn.Unflatten(1, top),
        ]
        # The same shapes from the top down: each transposed convolution undoes one convolution's change of shape.
        backwards = zip(self.shapes[::-1], self.shapes[-2::-1], reversed(_strides(config)), strict=False)
        for before, after, stride in backwards:
            parts.append(_transposed(before, after, config, stride, linear=after is self.shapes[0]))
            if after is not self.shapes[0]:
                parts.extend(_after_conv(after, config))
        return nn.Sequential(*parts)


def _strides(config: ConvNet) -> list[int]:
    return [config.first_stride, *[2] * (len(config.channels) - 1)]


def _map_shapes(input_shape: Shape, config: ConvNet) -> list[Shape]:
    shapes = [input_shape]
    for channel, stride in zip(config.channels, _strides(config), strict=True):
        shapes.append((channel, *(math.ceil(side / stride) for side in shapes[-1][1:])))
    return shapes


def _is_series(shape: Shape) -> bool:
    return len(shape) == 2  # noqa: PLR2004 - (C + 1, T)


def _observed(inputs: Tensor) -> Tensor:
    """Return images as they are, and series with 0 where nothing was observed."""
    return inputs * (inputs[:, -1:] > 0) if _is_series(inputs.shape[1:]) else inputs


def _pooled(maps: Tensor) -> Tensor:
    if _is_series(maps.shape[1:]):
        return F.adaptive_avg_pool1d(maps, min(maps.shape[2], _POOLED_STEPS))
    return F.adaptive_avg_pool2d(maps, (min(maps.shape[2], _POOLED_SIDE), min(maps.shape[3], _POOLED_SIDE)))


def _conv(before: Shape, after: Shape, config: ConvNet, stride: int, *, first: bool) -> nn.Module:
    kind: Any = nn.Conv1d if _is_series(before) else nn.Conv2d
    if first and config.norm == "contrast" and not _is_series(before):
        kind = ContrastConv2d
    size, bias = config.kernel_size, not _by_channel(after, config)
    module: nn.Module = kind(before[0], after[0], size, stride=stride, padding=size // 2, bias=bias)
    return module


def _transposed(before: Shape, after: Shape, config: ConvNet, stride: int, *, linear: bool) -> nn.Module:
    # Without output padding a side s becomes 2 s - 1 by a stride of 2: one is added where the original side was even.
    extra = tuple(wide - (stride * (narrow - 1) + 1) for narrow, wide in zip(before[1:], after[1:], strict=True))
    kind: Any = nn.ConvTranspose1d if _is_series(before) else nn.ConvTranspose2d
    size, bias = config.kernel_size, linear or not _by_channel(after, config)
    module: nn.Module = kind(before[0], after[0], size, stride, size // 2, output_padding=extra, bias=bias)
    return module


def _after_conv(maps: Shape, config: ConvNet) -> list[nn.Module]:
    norms: list[nn.Module] = []
    if config.norm == "group":
        norms = _group_norm(maps)
    elif _by_channel(maps, config):
        norms = [ChannelNorm(maps[0])]
    return [*norms, activation(config.activation)]


def _by_channel(maps: Shape, config: ConvNet) -> bool:
    """Whether each place is normalised over channels. Then convolutions have no bias: it would hide weak contrast."""
    return config.norm == "contrast" and maps[0] > 2  # noqa: PLR2004 - of two only which one is larger would remain


def _group_norm(maps: Shape) -> list[nn.Module]:
    """At most eight groups of at least four channels; none where a group would have no more than two values."""
    channels, values = maps[0], math.prod(maps[1:])
    groups = math.gcd(channels, _MAX_GROUPS)
    while groups > 1 and channels // groups < _MIN_IN_A_GROUP:
        groups //= 2
    # A lone value normalises to 0 whatever it was, and of two only which one is larger would remain.
    return [nn.GroupNorm(groups, channels)] if channels // groups * values > 2 else []  # noqa: PLR2004
