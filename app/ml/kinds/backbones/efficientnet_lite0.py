"""EfficientNet-Lite0: inverted residual blocks with depthwise convolutions, for small devices and processors.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019; the Lite variant (Liu,
"Higher accuracy on vision models with EfficientNet-Lite", 2020) leaves out squeeze and excitation, takes relu6 for
swish, and does not scale stem and head. Lite1 and Lite2 are wider and deeper (`width`, `depth`, `fixed_ends`).

    block(x) = [x +] project(relu6(depthwise(relu6(expand(x)))))

Every convolution is followed by a batch normalisation; the shortcut is there where the shape stays. Images are scaled
from [0, 1] to (255 x - 127) / 128 as its published weights want them, and convolutions that halve a map pad it as
TensorFlow does: the odd row and column below and at the right. Any image size will do.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.norms import BatchNorm
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, BackboneConfig, Encoding
from app.ml.spec import ModalityKind

STEM = 32
# Of each stage: expansion, side of the depthwise window, stride of its first block, channels, blocks.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_MIDDLE, _SPAN = 127 / 255, 128 / 255
_MULTIPLE = 8  # channels are rounded to such, as published
_EPSILON = 1e-3


class EfficientNetLite0(BackboneConfig):
    """Inverted residual blocks in seven stages between a stem and a head."""

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    width: Annotated[Real, Field(ge=0.1, le=4, examples=[0.25])] = Field(
        1.0, description="Multiplies the stages' channels; 1 as published."
    )
    depth: Annotated[Real, Field(ge=0.1, le=4, examples=[0.25])] = Field(
        1.0, description="Multiplies the stages' blocks, rounded up; 1 as published."
    )
    fixed_ends: bool = Field(
        default=False,
        strict=True,
        description="Whether depth leaves the blocks of the first and the last stage alone, as published.",
    )
    features: Annotated[Integer, Field(ge=8, le=8192, examples=[32])] = Field(
        1280, description="Channels of the head, whose means over the image are the features."
    )

    def build(self, encoding: Encoding) -> "EfficientNetLite0Backbone":
        """Build it for (C, H, W) with fresh weights."""
        return EfficientNetLite0Backbone(self, encoding)


class EfficientNetLite0Backbone(Backbone):
    """(B, C, H, W) to (B, features)."""

    def __init__(self, config: EfficientNetLite0, encoding: Encoding) -> None:
        super().__init__()
        self.encoding, self.features = encoding, config.features
        self.parts = nn.ModuleList([_convolved(encoding.shape[0], STEM, 3, stride=2)])
        before = STEM
        counts = block_counts(config)
        for (expansion, side, stride, channels, _), count in zip(STAGES, counts, strict=True):
            after, more = rounded(channels * config.width), count - 1
            first = Block(before, after, expansion, side, stride)
            self.parts.append(nn.Sequential(first, *(Block(after, after, expansion, side, 1) for _ in range(more))))
            before = after
        self.parts.append(_convolved(before, config.features, 1))
        self._start()

    def forward(self, inputs: Tensor) -> Tensor:
        """The means of the last maps, (B, features)."""
        return self._maps(inputs)[-1].mean((2, 3))

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The means of the maps after the stem, every stage and the head, each (B, channels)."""
        return [maps.mean((2, 3)) for maps in self._maps(inputs)]

    def _maps(self, inputs: Tensor) -> list[Tensor]:
        # From [0, 1] to [-1, 1] as published; channels last, which CPUs and tensor cores convolve faster.
        maps = ((inputs - _MIDDLE) / _SPAN).contiguous(memory_format=torch.channels_last)
        stage_maps = []
        for part in self.parts:
            maps = part(maps)
            stage_maps.append(maps)
        return stage_maps

    def _start(self) -> None:
        """Fresh weights as published: normal, with the variance 2 / fan out."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                reach = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / reach))


class Block(nn.Module):
    """(B, before, H, W) to (B, after, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, before: int, after: int, expansion: int, side: int, stride: int) -> None:
        super().__init__()
        inner = expansion * before
        self.expand = _convolved(before, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _convolved(inner, inner, side, stride=stride, groups=inner)
        self.project = _convolved(inner, after, 1, activated=False)
        self.same = stride == 1 and before == after

    def forward(self, maps: Tensor) -> Tensor:
        """Expand, convolve each channel, project; with a shortcut where the shape stays."""
        changed: Tensor = self.project(self.depthwise(self.expand(maps)))
        return maps + changed if self.same else changed


class Convolution(nn.Conv2d):
    """A convolution padded so that a side s becomes ceil(s / stride), as the published weights expect."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        pads: list[int] = []
        for side in (input.shape[3], input.shape[2]):
            stride, kernel = self.stride[0], self.kernel_size[0]
            # As TensorFlow pads: what the last window lacks, an odd pixel at the right and below.
            lack = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [lack // 2, lack - lack // 2]
        return super().forward(F.pad(input, pads) if any(pads) else input)


def block_counts(config: EfficientNetLite0) -> list[int]:
    """How many blocks each stage has."""
    counts = [math.ceil(blocks * config.depth) for *_, blocks in STAGES]
    return [STAGES[0][-1], *counts[1:-1], STAGES[-1][-1]] if config.fixed_ends else counts


def rounded(channels: float) -> int:
    """Round to a multiple of 8, by at most a tenth downwards."""
    nearest = max(_MULTIPLE, int(channels + _MULTIPLE / 2) // _MULTIPLE * _MULTIPLE)
    return nearest + _MULTIPLE if nearest < 0.9 * channels else nearest


def _convolved(
    before: int, after: int, side: int, *, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    """A convolution and its normalisation. Running statistics move at torch's pace, not the published slower one."""
    parts = [
        Convolution(before, after, side, stride, groups=groups, bias=False),
        BatchNorm(after, eps=_EPSILON),
        *([nn.ReLU6()] if activated else []),
    ]
    return nn.Sequential(*parts)
