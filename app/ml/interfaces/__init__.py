"""The shapes of learning, on one page.

A **request** is a frozen choice with a `kind`; fields may be "auto". It resolves to a **config**, in which nothing
is "auto" and which builds a module. Most kinds have no such fields: one class is both. B is the batch, F a backbone's
number of features, `shape` the shape of one encoded row: `(C, H, W)` for images, `(D,)` for tables, `(C, T)` for
series, whose last channel is 1 where a step was observed and 0 where it is padding or missing, and `(T,)` for texts,
which are int64 codes of tokens below `vocabulary`, 0 being padding at the end.

    Preprocessing  what a user may choose of it;  builds nothing, a Modality is fitted with it
    Modality       rows as stored (N, ...)  -> encode -> (N, *shape);  JSON -> decode -> rows as stored
    Augmentation   Batch -> Batch, at random, while training
    Backbone       (B, *shape) -> (B, F);  what else it can do, its config `provides`
    Objective      Batch -> {"loss": scalar to minimise, ...};  what a training step works on
    Method         builds an Objective around a backbone: how one pretrains
    Head           (B, F) -> (B, K), or per step (B, T, F) -> (B, T, K);  answers one target, or some together
    Balancing      losses of several heads -> the one that is minimised
    Strategy       how a pretrained backbone is adapted: what trains, how fast, and which features are kept

Each kind is one file in its family's folder; the folder's `__init__.py` is the written union of them. The plain values
that are passed around are in values.py; all can be imported from here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from app.ml.evaluation.outcomes import Outcomes
from app.ml.interfaces.abilities import Ability
from app.ml.interfaces.answers import AnswerPart
from app.ml.interfaces.backbones import Backbone, BackboneConfig, BackboneRequest
from app.ml.interfaces.heads import Head, HeadConfig
from app.ml.interfaces.modality import Modality, PreprocessingConfig, PreprocessingRequest
from app.ml.interfaces.resolvable import (
    Choices,
    Complete,
    Config,
    Decisions,
    ResolutionContext,
    Resolvable,
    Shape,
)
from app.ml.interfaces.values import (
    Accepts,
    Batch,
    Encoding,
    ExampleSource,
    Losses,
    Mix,
    ParamGroup,
    Rows,
    StoredRows,
    TrainingDefaults,
)
from app.ml.spec import Decision, ModalityKind

__all__ = [
    "Accepts", "AnswerPart", "AugmentationConfig", "Backbone", "BackboneConfig", "BackboneRequest", "Batch", "Choices",
    "Config", "Decision", "Decisions", "Encoding", "ExampleSource", "Head", "HeadConfig", "Losses", "MethodConfig",
    "MethodRequest", "Mix", "Modality", "Objective", "ParamGroup", "PreprocessingConfig", "PreprocessingRequest",
    "ResolutionContext", "Rows", "Shape", "StoredRows",
]  # fmt: skip


class AugmentationConfig(Config, ABC):
    """A random change of training rows that keeps what they mean."""

    accepts: ClassVar[tuple[ModalityKind, ...]]
    mixes_labels: ClassVar[bool] = False  # whether it sets a batch's `mix`: one such is enough

    @abstractmethod
    def apply(self, batch: Batch) -> Batch:
        """Change a batch on its device, by draws from torch's global generators alone, so that a resume repeats it.

        Several devices share a batch: numbers of rows are drawn by `app.ml.blocks.shards`, which has others' rows, too.
        """


class Objective(nn.Module, ABC):
    """A loss with everything that it trains."""

    backbone: Backbone
    augmentations: tuple[AugmentationConfig, ...] = ()
    compares_rows: bool = False  # whether a row's loss depends on the others of its batch, which so cannot be cut
    reads_weights: bool = False  # whether a loss reads weights of the backbone's units, or gradients by them, by itself

    @property
    def least_rows(self) -> int:
        """How many rows a batch must have at least: two where its rows are compared with each other."""
        return 2 if self.compares_rows else 1

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """Return scalars (); "loss" is minimised, the rest are reported. May draw from torch's global generators.

        A measurement seeds them before and restores them after, so that in eval mode one batch has one value.
        """

    def training_loss(self, batch: Batch) -> Losses:
        """Return the losses of a training step, by default of the augmented batch; methods of views override it.

        Where several devices share the batch, `batch` has the rows of one: each loss is a mean over them, or is of the
        whole batch (`app.ml.blocks.shards`).
        """
        return self.loss(self.augmented(batch))

    def measure(self, batches: Iterable[Batch]) -> Losses:
        """Return the losses of a whole split: by default means over its batches, weighted by their rows."""
        totals: Losses = {}
        rows = 0
        for batch in batches:
            rows += len(batch)
            for name, value in self.loss(batch).items():
                totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value * len(batch)
        return {name: total / rows for name, total in totals.items()}

    def measured(self, batches: Iterable[Batch]) -> tuple[Losses, Outcomes | None]:
        """Return `measure`, and the outcomes of the rows where metrics are means over rows, for intervals."""
        return self.measure(batches), None

    def augmented(self, batch: Batch) -> Batch:
        """Return a batch after every augmentation, in order."""
        for augmentation in self.augmentations:
            batch = augmentation.apply(batch)
        return batch

    def learned(self) -> dict[str, Tensor]:
        """Return the tensors outside the backbone by name (a decoder, say); a pretraining keeps them with its model."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("backbone.")}

    def groups(self) -> list[ParamGroup]:
        """Return what the optimizer moves: by default every parameter at the configured rate."""
        return [ParamGroup(list(self.parameters()))]

    def fit(self, examples: ExampleSource) -> None:
        """Set parameters and buffers from the train split, once before the first step (initial centroids, say)."""

    def begin(self, step: int, total: int) -> None:
        """Prepare step `step` of `total`, from 0: warm a weight up, unfreeze a stage. A function of these alone.

        Only `requires_grad` and plain attributes may change here; a resumed training calls it again.
        """


class MethodRequest(Config, Resolvable["MethodConfig"], ABC):
    """A choice of pretraining method, in which fields may be "auto"."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    needs: ClassVar[frozenset[Ability]] = frozenset()  # of the backbone
    causal: ClassVar[bool] = False  # whether the backbone must not look ahead
    compares_views: ClassVar[bool] = False  # whether it cannot do without augmentations
    compares_rows: ClassVar[bool] = False  # whether its loss needs batches of two rows and more
    backbone_passes: ClassVar[int] = 1  # how often each step runs the backbone on its rows; 0: not at all

    def suits(self, context: ResolutionContext) -> bool:
        """Return whether it is a sensible default for such data."""
        return True

    def default_views(self, context: ResolutionContext) -> tuple[AugmentationConfig, ...]:
        """Return the augmentations of a pretraining that names none."""
        return ()

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults | None:
        """Return what a training's "auto" fields start from; None where the usual defaults do."""
        return None


class MethodConfig(Complete, MethodRequest, ABC):
    """A choice of pretraining method with nothing left to choose."""

    @abstractmethod
    def build(self, backbone: Backbone) -> Objective:
        """Put the method's own modules around a backbone."""
