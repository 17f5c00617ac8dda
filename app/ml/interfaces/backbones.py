"""Backbones: networks from rows to features."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from app.ml.interfaces.abilities import Ability
from app.ml.interfaces.modality import PreprocessingRequest
from app.ml.interfaces.resolvable import Complete, Config, ResolutionContext, Resolvable, Shape
from app.ml.interfaces.values import CategoryFeatures, Encoding, ExampleSource
from app.ml.spec import ModalityKind


class Backbone(nn.Module, ABC):
    """A network from rows (B, *shape) to features (B, F)."""

    encoding: Encoding
    features: int

    @property
    def input_shape(self) -> Shape:
        """Shape of one encoded row."""
        return self.encoding.shape

    @property
    def categories(self) -> tuple[CategoryFeatures, ...]:
        """The columns of categories whose features are in those of `forward` as they were encoded; mostly none are."""
        return ()

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """(B, *input_shape) to (B, F)."""

    @abstractmethod
    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Return intermediate features, one (B, F_i) per layer; the last are those of `forward`."""

    def initialize(self, examples: ExampleSource) -> None:
        """Set what fresh weights take from train rows and no gradient learns; called once, before anything trains.

        By default nothing is set. Whatever is drawn comes from torch's global generator.
        """

    def dense_blocks(self) -> Sequence[nn.Module] | None:
        """Return what `layers` sends flattened rows through, where that is fully connected layers; else None."""
        return None

    def units(self) -> list[nn.Module]:
        """Return the parts whose weights nothing but their own forward pass reads: the blocks of its lists.

        Devices that shard the weights gather them part by part, and those of no part for the whole of a step.
        """
        lists = (child for child in self.children() if isinstance(child, nn.ModuleList | nn.Sequential))
        return [part for parts in lists for part in parts if any(True for _ in part.parameters())]

    def stages(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, by stages from the input to the last; strategies treat stages apart."""
        stages: list[list[nn.Parameter]] = []
        for child in self.children():
            parts = child if isinstance(child, nn.ModuleList | nn.Sequential) else [child]
            stages += [list(part.parameters()) for part in parts]
        own = list(self.parameters(recurse=False))
        return [stage for stage in [own, *stages] if stage]


class BackboneRequest(Config, Resolvable["BackboneConfig"], ABC):
    """A choice of backbone, in which fields may be "auto"."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table")
    provides: ClassVar[frozenset[Ability]] = frozenset()
    learns: ClassVar[bool] = True  # False: its features are fixed, and heads are all that labels can teach
    min_side: ClassVar[int] = 1  # pixels that height and width of an image must have at least

    def usual_preprocessing(self, context: ResolutionContext) -> PreprocessingRequest | None:
        """Return what preprocessing "auto" becomes for this backbone; None: what it becomes for any other."""
        del context
        return None


class BackboneConfig(Complete, BackboneRequest, ABC):
    """A choice of backbone with nothing left to choose."""

    @abstractmethod
    def build(self, encoding: Encoding) -> Backbone:
        """Build it with fresh weights from torch's global generator."""
