"""The majority answer of a transfer report as a backbone that has learned nothing: no job can choose it."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from app.ml.interfaces import Backbone, BackboneConfig, Encoding
from app.ml.spec import ModalityKind


class ConstantConfig(BackboneConfig):
    """The config of a constant feature."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "text", "series")
    kind: Literal["constant"] = "constant"

    def build(self, encoding: Encoding) -> "ConstantBackbone":
        """Build it."""
        return ConstantBackbone(encoding)


class ConstantBackbone(Backbone):
    """(B, *shape) to one feature that never changes, (B, 1): a head on it answers the majority, or the mean."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self.encoding, self.features = encoding, 1
        self.one = nn.Parameter(torch.ones(()))  # says on which device it is, as other backbones' parameters do

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, *shape) to zeros (B, 1)."""
        return 0 * self.one.expand(len(inputs), 1)

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The feature alone."""
        return [self(inputs)]
