"""Masked spans of a series are rebuilt from what is around them.

    loss = mean over hidden observed values of (x_ct - r_ct)^2,   r_t = W f(x~)_t + b

f gives features of every step of the series x~ whose hidden values are 0, their channel's mean; every channel hides
spans of its own. Zerveas et al., "A transformer-based framework for multivariate time series representation learning",
2021; spans are drawn as by Baevski et al., "wav2vec 2.0", 2020: every step begins one with the same probability q, they
may overlap, and 1 - (1 - q)^span of the values are hidden. Predicting the mean gives a loss of 1.
"""

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.shards import drawn, mean_over
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, Batch, Losses, MethodConfig, Objective, ResolutionContext
from app.ml.interfaces.abilities import Ability, Sequences
from app.ml.interfaces.values import TrainingDefaults
from app.ml.spec import ModalityKind


class MaskedSteps(MethodConfig):
    """Rebuild hidden spans of a series."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("series",)
    needs: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    kind: Literal["masked_steps"] = "masked_steps"
    share: Real = Field(0.3, gt=0, lt=1, description="Share of a channel's values that is hidden.")
    span: Integer = Field(3, ge=1, le=10_000, description="Steps of a span; longer ones are harder to guess.")

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """As for other reconstructions; a few more steps, since each learns from a part of the values."""
        return TrainingDefaults(
            lr=1e-3, batches=100, steps=1500, min_epochs=5, max_epochs=300, warmup=0.05, precision="native"
        )

    def build(self, backbone: Backbone) -> "MaskedStepsObjective":
        """Put a linear layer from a step's features to its values behind the backbone."""
        return MaskedStepsObjective(self, backbone)


class MaskedStepsObjective(Objective):
    """Reports loss alone: it is per hidden value."""

    def __init__(self, config: MaskedSteps, backbone: Backbone) -> None:
        super().__init__()
        assert isinstance(backbone, Sequences)
        self.config = config
        self.backbone: Backbone = backbone
        self.rebuild = nn.Linear(backbone.width, backbone.input_shape[0] - 1)

    def loss(self, batch: Batch) -> Losses:
        """The scalar loss; 0 where nothing was hidden."""
        return _mean(self.sums(batch.inputs))

    def measure(self, batches: Iterable[Batch]) -> Losses:
        """The mean over the hidden values of the split."""
        return _mean(torch.stack([self.sums(batch.inputs) for batch in batches]).double().sum(0))

    def sums(self, inputs: Tensor) -> Tensor:
        """The squared error over hidden observed values of series (B, C + 1, T), and how many there are, (2,)."""
        assert isinstance(self.backbone, Sequences)
        # Every channel masks spans of its own; the mask of what was observed stays as it is. (B, C, T), (B, 1, T)
        values, observed = inputs[:, :-1], inputs[:, -1:]
        hidden = spans(values, self.config.share, self.config.span)
        masked = torch.cat([values.masked_fill(hidden, 0), observed], dim=1)
        rebuilt = self.rebuild(self.backbone.sequence(masked)).transpose(1, 2).to(values.dtype)
        # Only values that were masked and observed count.
        counts = hidden * observed
        return torch.stack([(counts * (values - rebuilt).square()).sum(), counts.sum()])


def spans(values: Tensor, share: float, length: int) -> Tensor:
    """Where values (B, C, T) are hidden, bool; `share` of them, in spans of `length` steps that may overlap."""
    # A value is masked if any of `length` steps begins a span: 1 - (1 - q)^length = share.
    begins = 1 - (1 - share) ** (1 / length)
    _, channels, steps = values.shape
    # Spans may begin before the first step; max pooling spreads each begin over the length of its span.
    drawn_steps = drawn(lambda rows: torch.rand(rows, channels, steps + length - 1, device=values.device), len(values))
    return F.max_pool1d((drawn_steps < begins).float(), length, stride=1) > 0


def _mean(sums: Tensor) -> Losses:
    return {"loss": mean_over(sums[0], sums[1])}
