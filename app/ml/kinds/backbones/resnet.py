"""A residual network: y = relu(F(x) + S(x)), F two convolutions, S the identity or a strided 1 x 1 convolution.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016: basic blocks, widths doubling as the image
halves, the mean over the last map as features. Batch normalisation as published (Ioffe and Szegedy, 2015), or group
normalisation (Wu and He, 2018), which does not look at the rest of the batch.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.norms import NormName, norm
from app.ml.fields import Integer
from app.ml.interfaces import Backbone, BackboneConfig, Encoding
from app.ml.spec import ModalityKind

_POOLED_SIDE = 4  # layers() pools larger maps to 4 x 4, which keeps C * 16 features of them


class ResNet(BackboneConfig):
    """Residual blocks in stages, each stage after the first halving the image."""

    kind: Literal["resnet"] = "resnet"
    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    widths: tuple[Annotated[Integer, Field(ge=4, le=2048)], ...] = Field(
        (32, 64, 128), min_length=1, max_length=6, description="Channels of each stage; the last are the features."
    )
    blocks: Integer = Field(1, ge=1, le=16, description="Residual blocks in every stage.")
    stem: Literal["small", "halving", "large"] = Field(
        "halving",
        description="First layer: small has 3 x 3 windows and keeps the size, halving halves it, large is the one "
        "published for photographs, 7 x 7 windows and pooling to a quarter.",
    )
    norm: NormName = Field("batch", description="Normalisation after each convolution, over batches or within a row.")

    def build(self, encoding: Encoding) -> "ResNetBackbone":
        """Build it for (C, H, W) with fresh weights."""
        return ResNetBackbone(self, encoding)


class ResNetBackbone(Backbone):
    """(B, C, H, W) to (B, widths[-1])."""

    def __init__(self, config: ResNet, encoding: Encoding) -> None:
        super().__init__()
        self.config = config
        self.encoding = encoding
        self.features = config.widths[-1]
        self.parts = nn.ModuleList([_stem(encoding.shape[0], config)])
        before = config.widths[0]
        for index, width in enumerate(config.widths):
            self.parts.append(_stage(before, width, 1 if index == 0 else 2, config))
            before = width

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F)."""
        return self._maps(inputs)[-1].mean((2, 3))

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The first layer's and every stage's maps, pooled to at most 4 x 4 and flattened, then the features."""
        maps = self._maps(inputs)
        return [*(_pooled(stage_maps) for stage_maps in maps), maps[-1].mean((2, 3))]

    def _maps(self, inputs: Tensor) -> list[Tensor]:
        part_maps = []
        maps = inputs
        for part in self.parts:
            # Channels last: twice as fast on a CPU with bfloat16, and what a GPU's tensor cores want.
            maps = part(maps).contiguous(memory_format=torch.channels_last)
            part_maps.append(maps)
        return part_maps


class ResidualBlock(nn.Module):
    """(B, before, H, W) to (B, width, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, before: int, width: int, stride: int, name: NormName) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            norm(name, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            norm(name, width),
        )
        # Where the shape changes the shortcut is a strided 1 x 1 convolution.
        same = stride == 1 and before == width
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), norm(name, width))
        )

    def forward(self, maps: Tensor) -> Tensor:
        """relu(F(x) + S(x))."""
        return F.relu(self.change(maps) + self.shortcut(maps))


def _stem(channels: int, config: ResNet) -> nn.Module:
    width = config.widths[0]
    side, stride = {"small": (3, 1), "halving": (3, 2), "large": (7, 2)}[config.stem]
    conv = nn.Conv2d(channels, width, side, stride, side // 2, bias=False)
    pool = [nn.MaxPool2d(3, 2, 1)] if config.stem == "large" else []
    return nn.Sequential(conv, norm(config.norm, width), nn.ReLU(), *pool)


def _stage(before: int, width: int, stride: int, config: ResNet) -> nn.Module:
    more = (ResidualBlock(width, width, 1, config.norm) for _ in range(config.blocks - 1))
    return nn.Sequential(ResidualBlock(before, width, stride, config.norm), *more)


def _pooled(maps: Tensor) -> Tensor:
    side = (min(maps.shape[2], _POOLED_SIDE), min(maps.shape[3], _POOLED_SIDE))
    return F.adaptive_avg_pool2d(maps, side).flatten(1)
