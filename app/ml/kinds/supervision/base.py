"""Labels in a pretraining: their loss is added to the method's, for the rows that carry the label.

    L = L_method(batch) + w L_labels(rows drawn among those that carry the label)

As in Kingma et al., "Semi-supervised learning with deep generative models", 2014 (equation 9), for any method. Where
labels are few a batch holds hardly any of them, so every step draws labelled rows in addition to its batch. A
measurement draws nothing: there L_labels is a mean over the split's own rows that carry the label, 0 where none does.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.shards import all_rows, drawn_together, own_rows, row_mean, sharing_rows
from app.ml.errors import ConfigError
from app.ml.fields import Auto, Integer, Name, Real
from app.ml.interfaces import AugmentationConfig, Backbone, Batch, Config, ExampleSource, Losses, Objective, ParamGroup
from app.ml.interfaces.resolvable import Complete, Resolvable
from app.ml.spec import TargetSpec

TargetType = Literal["number", "category"]


Weight = Annotated[Real, Field(gt=0, le=1e6)]


class SupervisionRequest(Config, Resolvable["SupervisionConfig"], ABC):
    """A choice of what labels add to a pretraining, whose weight may be "auto"."""

    accepts: ClassVar[tuple[TargetType, ...]] = ("category",)
    target: Name = Field(description="The target whose labels join, by its name in the dataset.")
    weight: Auto[Weight] = Field(
        "auto",
        description="What the labels' loss is multiplied with; auto: a tenth of a row's values where the method's loss "
        "sums over them, else 1.",
    )
    rows: Integer = Field(64, ge=2, le=8192, description="Labelled rows drawn at random in addition to every batch.")


class SupervisionConfig(Complete, SupervisionRequest, ABC):
    """A choice of what labels add to a pretraining, with a known weight."""

    weight: Weight

    @abstractmethod
    def build(self, features: int, target: TargetSpec) -> "LabelLoss":
        """Build it for `features` inputs, with fresh weights from torch's global generator."""


class LabelLoss(nn.Module, ABC):
    """The loss of the labels, on the backbone's features."""

    views: ClassVar[int] = 1  # how many augmented copies of a labelled row it compares

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to outputs (B, K)."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean over the rows of (B, K) that carry the label (B,); 0 where none does."""

    def fit(self, labels: Tensor) -> None:
        """Take from the train split's labels (N,) what the loss needs."""


class JointObjective(Objective):
    """A method's objective plus a loss of labels. Reports loss, the method's parts, and both parts of the sum."""

    def __init__(self, method: Objective, term: LabelLoss, config: SupervisionConfig) -> None:
        super().__init__()
        self.method, self.term, self.config = method, term, config
        self.compares_rows, self.reads_weights = method.compares_rows, method.reads_weights
        self._examples: ExampleSource | None = None
        self._carriers = torch.empty(0, dtype=torch.int64)

    @property
    def backbone(self) -> Backbone:  # type: ignore[override]
        """The method's, which has it among its modules."""
        return self.method.backbone

    @property
    def augmentations(self) -> tuple[AugmentationConfig, ...]:
        """The method's."""
        return self.method.augmentations

    @augmentations.setter
    def augmentations(self, chosen: tuple[AugmentationConfig, ...]) -> None:
        self.method.augmentations = chosen

    def loss(self, batch: Batch) -> Losses:
        """Add the loss of the batch's own labels."""
        return self._joined(self.method.loss(batch), self._of_labels(batch))

    def training_loss(self, batch: Batch) -> Losses:
        """Add the loss of labelled rows that are drawn anew to the method's own training loss."""
        losses = self.method.training_loss(batch)
        with sharing_rows(self._rows_to_draw):
            drawn = self._drawn()
            views = [self.augmented(drawn) for _ in range(self.term.views)]
            return self._joined(losses, row_mean(self._of_labels(*views)))

    def measure(self, batches: Iterable[Batch]) -> Losses:
        """The method's over all rows, and the labels' over those that carry one."""
        costs: list[Tensor] = []
        carriers: list[Tensor] = []

        def passing() -> Iterator[Batch]:
            for batch in batches:
                count = known(batch.targets[self.config.target]).sum()
                costs.append(self._of_labels(batch) * count)
                carriers.append(count)
                yield batch

        losses = self.method.measure(passing())
        return self._joined(losses, torch.stack(costs).sum() / torch.stack(carriers).sum().clamp(min=1))

    def groups(self) -> list[ParamGroup]:
        """The method's, and the term's own weights."""
        return [*self.method.groups(), ParamGroup(list(self.term.parameters()))]

    def fit(self, examples: ExampleSource) -> None:
        """Remember the labelled rows, to draw from."""
        self.method.fit(examples)
        labels = examples.targets[self.config.target]
        self._examples = examples
        self._carriers = known(labels).nonzero()[:, 0].cpu()
        if not len(self._carriers):
            raise ConfigError(("labels", "target"), f"no training row carries target {self.config.target!r}")
        self.term.fit(labels)

    def begin(self, step: int, total: int) -> None:
        """Pass the step on to the method."""
        self.method.begin(step, total)

    def learned(self) -> dict[str, Tensor]:
        """What the method learned; the labels' head is not kept."""
        return self.method.learned()

    @property
    def _rows_to_draw(self) -> int:
        return min(self.config.rows, len(self._carriers))

    def _drawn(self) -> Batch:
        assert self._examples is not None
        places = drawn_together(lambda: torch.randint(len(self._carriers), (self._rows_to_draw,)))
        return self._examples.batch(self._carriers[own_rows(places)])

    def _of_labels(self, *views: Batch) -> Tensor:
        """The labels' loss over one or more augmented copies of the same rows; mixed rows count for both labels."""
        labels = torch.cat([view.targets[self.config.target] for view in views])
        outputs = self.term(self.backbone(torch.cat([view.inputs for view in views])))
        if views[0].mix is None:
            return self.term.loss(outputs, labels)
        mixes = [view.mix for view in views if view.mix is not None]
        others = torch.cat([all_rows(views[0].targets[self.config.target])[mix.order] for mix in mixes])
        share = row_mean(torch.cat([mix.share for mix in mixes]).mean())
        return share * self.term.loss(outputs, labels) + (1 - share) * self.term.loss(outputs, others)

    def _joined(self, losses: Losses, labels: Tensor) -> Losses:
        method = losses["loss"]
        shares = {"method": method.detach(), "labels": labels.detach()}
        return {**losses, **shares, "loss": method + self.config.weight * labels}


def known(labels: Tensor) -> Tensor:
    """Mask of the rows of (N,) that carry the label: a class that is not -1, or a number that is not NaN."""
    return ~labels.isnan() if labels.is_floating_point() else labels >= 0
