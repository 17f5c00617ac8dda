"""The denoising autoencoder: min over c and d of  1/2 sum_j w_j (x_j - d(c(x~))_j)^2,  x~ a corrupted row.

c is the backbone, d its mirror; the row to rebuild is the clean one. Vincent et al., "Extracting and composing robust
features with denoising autoencoders", 2008, and "Stacked denoising autoencoders", 2010 (section 4.2: w_j is `emphasis`
where a value was changed and 1 elsewhere). A row is corrupted by
    noise  x_j + strength * epsilon, epsilon ~ N(0, 1)
    mask   a share of the values becomes 0: black, or for standardised columns and channels the mean
    swap   a share of the values is that of another row of the batch, each from its own, in the same place (swap noise;
           Jahrer, "Porto Seguro's safe driver prediction, first place", 2017): what comes in stays a possible value
What a series did not observe is left alone and does not count.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.blocks.reconstruction import (
    half_squared_error,
    mean_squared_error,
    reconstruction_defaults,
    value_weights,
)
from app.ml.blocks.shards import all_rows, drawn, drawn_like
from app.ml.fields import Auto, Real
from app.ml.interfaces import (
    Backbone,
    Batch,
    Choices,
    Losses,
    MethodConfig,
    MethodRequest,
    Objective,
    ResolutionContext,
)
from app.ml.interfaces.abilities import Ability, Mirrors
from app.ml.interfaces.values import TrainingDefaults
from app.ml.spec import Frozen, ModalityKind

Share = Annotated[Real, Field(gt=0, lt=1)]


class NoiseCorruption(Frozen):
    """Gaussian noise on every value."""

    kind: Literal["noise"] = "noise"
    strength: Real = Field(0.3, gt=0, le=100, description="The noise's standard deviation, in units of encoded values.")

    def apply(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Corrupted rows (B, *shape), and where they were changed, bool of the same shape."""
        return inputs + self.strength * drawn_like(torch.randn_like, inputs), torch.ones_like(inputs, dtype=torch.bool)


class MaskCorruption(Frozen):
    """Some values become 0."""

    kind: Literal["mask"] = "mask"
    share: Share = Field(0.3, description="Share of a row's values that is masked.")

    def apply(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Corrupted rows (B, *shape), and where they were changed, bool of the same shape."""
        hidden = drawn_like(torch.rand_like, inputs) < self.share
        return inputs.masked_fill(hidden, 0), hidden


class SwapCorruption(Frozen):
    """Some values are those of other rows."""

    kind: Literal["swap"] = "swap"
    share: Share = Field(0.15, description="Share of a row's values that is taken from other rows of the batch.")

    def apply(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Corrupted rows (B, *shape), and where they were changed, bool of the same shape."""
        swapped = drawn_like(torch.rand_like, inputs) < self.share
        # Every value has a donor of its own, in the same column. (B, *shape)
        size, device = inputs.shape[1:], inputs.device
        others = drawn(lambda rows: torch.randint(0, rows, (rows, *size), device=device), len(inputs))
        return torch.where(swapped, all_rows(inputs).gather(0, others), inputs), swapped


AnyCorruption = Annotated[NoiseCorruption | MaskCorruption | SwapCorruption, Field(discriminator="kind")]
_USUAL: dict[str, tuple[AnyCorruption, str]] = {
    "image": (MaskCorruption(), "pixels may be hidden"),
    "table": (SwapCorruption(), "columns keep possible values"),
    "series": (MaskCorruption(), "steps may be hidden"),
}


class DenoisingAutoencoder(MethodRequest):
    """Learn features of a corrupted row from which the clean row can be rebuilt."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    needs: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    kind: Literal["denoising_autoencoder"] = "denoising_autoencoder"
    corruption: Auto[AnyCorruption] = Field("auto", description="How rows are corrupted; auto: swap for tables.")
    emphasis: Real = Field(
        1.0, gt=0, le=1000, description="How much the error of a changed value counts; one left alone counts 1."
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedDenoisingAutoencoder]":
        """Return the class that builds."""
        return ResolvedDenoisingAutoencoder

    def choices(self, context: ResolutionContext) -> Choices:
        """Mask images and series, swap the values of tables."""
        return {"corruption": _USUAL[context.modality]}

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """That of every reconstruction."""
        return reconstruction_defaults(context)


class ResolvedDenoisingAutoencoder(DenoisingAutoencoder, MethodConfig):
    """The same with a known corruption."""

    corruption: AnyCorruption

    def build(self, backbone: Backbone) -> "DenoisingAutoencoderObjective":
        """Put the mirrored decoder behind the backbone."""
        return DenoisingAutoencoderObjective(self, backbone)


class DenoisingAutoencoderObjective(Objective):
    """Reports loss, and mse, the squared error per value without emphasis."""

    def __init__(self, config: ResolvedDenoisingAutoencoder, backbone: Backbone) -> None:
        super().__init__()
        self.corruption = config.corruption
        self.emphasis = config.emphasis
        self.backbone = backbone
        assert isinstance(backbone, Mirrors)
        self.decoder = backbone.mirror()

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss, mse."""
        inputs, weights = batch.inputs, value_weights(batch.inputs)
        # The network sees the corrupted row, the error is that of the clean one.
        corrupted, changed = corrupt(self.corruption, inputs, weights)
        rebuilt = self.decoder(self.backbone(corrupted))
        plain = half_squared_error(inputs, rebuilt, weights)
        loss = plain if self.emphasis == 1 else half_squared_error(inputs, rebuilt, self._emphasised(changed, weights))
        return {"loss": loss, "mse": mean_squared_error(plain, inputs, weights)}

    def _emphasised(self, changed: Tensor, weights: Tensor | None) -> Tensor:
        emphasis = 1 + (self.emphasis - 1) * changed
        return emphasis if weights is None else emphasis * weights


def corrupt(corruption: AnyCorruption, inputs: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows (B, *shape) corrupted where they count, and where they were changed, bool of the same shape."""
    corrupted, changed = corruption.apply(inputs)
    if weights is None:
        return corrupted, changed
    # What was not observed holds 0 and stays so.
    return torch.where(weights > 0, corrupted, inputs), changed & (weights > 0)
