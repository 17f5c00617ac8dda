"""The encoded row itself: a linear head on it is logistic or ridge regression on the rows, without any network.

Rows of more than 12,288 values are averaged to a coarser grid, whose cells are the stretches of steps or pixels that
`torch.nn.functional.adaptive_avg_pool1d` takes. A series is its channels and which of its steps were observed. Nothing
is learned by gradient but a weight of each value, which is 1 at first.
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from app.ml.interfaces import Backbone, BackboneConfig, Encoding, Shape
from app.ml.interfaces.values import CategoryFeatures
from app.ml.spec import ModalityKind

_MAX_VALUES = 12_288


class Raw(BackboneConfig):
    """The encoded row itself, of large rows on a coarser grid."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    learns: ClassVar[bool] = False
    kind: Literal["raw"] = "raw"

    def build(self, encoding: Encoding) -> "RawBackbone":
        """Build it for rows of any shape."""
        return RawBackbone(encoding)


class RawBackbone(Backbone):
    """(B, *shape) to (B, F)."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self.encoding = encoding
        self.grid = coarser(encoding.shape)
        self.features = math.prod(self.grid)
        self.weights = nn.Parameter(torch.ones(self.features))

    @property
    def categories(self) -> tuple[CategoryFeatures, ...]:
        """All that the rows have."""
        return self.encoding.categories or ()

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, *shape) to (B, F)."""
        # From the last side to the first: (B, C, H, W) to (B, C, H, w), then to (B, C, h, w).
        for side in range(len(self.grid) - 1, 0, -1):
            if inputs.shape[side + 1] != self.grid[side]:
                mean = averages(self.encoding.shape[side], self.grid[side]).to(inputs)
                inputs = (inputs.transpose(side + 1, -1) @ mean).transpose(side + 1, -1)
        return self.weights * inputs.flatten(1)

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """There is one."""
        return [self(inputs)]


def coarser(shape: Shape) -> Shape:
    """Return the shape (C, ...) with its sides scaled alike until it has at most 12,288 values."""
    channels, *sides = shape
    if not sides or math.prod(shape) <= _MAX_VALUES:
        return shape
    share = (_MAX_VALUES / math.prod(shape)) ** (1 / len(sides))
    return (channels, *(max(1, int(side * share)) for side in sides))


def averages(steps: int, cells: int) -> Tensor:
    """The matrix (steps, cells) that averages steps to cells; neighbouring cells may share a step."""
    step, cell = torch.arange(steps)[:, None], torch.arange(cells)
    starts, ends = cell * steps // cells, -((cell + 1) * -steps // cells)
    inside = ((step >= starts) & (step < ends)).float()
    return inside / inside.sum(0)
