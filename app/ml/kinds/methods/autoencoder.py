"""The regularised autoencoder: min over c and d of  1/2 ||x - d(c(x))||^2 + lambda R(W).

c is the backbone, d its mirror; the squared norm runs over a row's dimensions and is averaged over the batch, so the
loss is the published one per row. R is one of
    l2           the sum of W_ij^2 over the weight matrices (not the biases) of c and d
    l1           the sum of |W_ij| over the same
    contractive  the batch mean of ||d c(x) / d x||_F^2, Rifai et al., "Contractive auto-encoders: explicit
                 invariance during feature extraction", 2011; estimated without bias from random projections
                 (Hutchinson, 1990), since E ||v^T J||^2 = ||J||_F^2 for v of uncorrelated entries with mean 0
                 and variance 1
    sparse       the sum over features j of KL(rho || a_j), Ng, "Sparse autoencoder", 2011, where a_j is the batch
                 mean of feature j's activity; features of any activation are made activities in [0, 1) by
                 1 - exp(-|f|)
Steps of a series that were not observed do not count in the squared norm.
Rumelhart, Hinton and Williams 1986; Bengio, Courville and Vincent, "Representation learning", 2013.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from app.ml.blocks.reconstruction import (
    half_squared_error,
    mean_squared_error,
    reconstruction_defaults,
    value_weights,
)
from app.ml.blocks.regularizers import (
    contraction,
    divergence_from_rate,
    sum_of_absolutes,
    sum_of_squares,
    weight_matrices,
)
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, Batch, Losses, MethodConfig, Objective, ResolutionContext
from app.ml.interfaces.abilities import Ability, Mirrors
from app.ml.interfaces.values import TrainingDefaults
from app.ml.spec import Frozen, ModalityKind


class NoPenalty(Frozen):
    """Reconstruction alone."""

    kind: Literal["none"] = "none"


class L2(Frozen):
    """Small weights."""

    kind: Literal["l2"] = "l2"
    strength: Real = Field(1e-4, ge=0, le=1e6, description="Lambda, the weight of the sum of squared weights.")


class L1(Frozen):
    """Sparse weights."""

    kind: Literal["l1"] = "l1"
    strength: Real = Field(1e-5, ge=0, le=1e6, description="Lambda, the weight of the sum of absolute weights.")


class Contractive(Frozen):
    """Features that move little when the input does."""

    kind: Literal["contractive"] = "contractive"
    strength: Real = Field(0.1, ge=0, le=1e6, description="Lambda, the weight of the Jacobian's squared norm.")
    projections: Integer = Field(1, ge=1, le=1024, description="Random projections per row and step.")


class Sparse(Frozen):
    """Features that are near 0 for most rows."""

    kind: Literal["sparse"] = "sparse"
    strength: Real = Field(0.1, ge=0, le=1e6, description="Lambda, the weight of the sum of divergences.")
    rate: Real = Field(0.05, gt=0, lt=1, description="Rho, the target mean activity of every feature.")


AnyPenalty = Annotated[NoPenalty | L2 | L1 | Contractive | Sparse, Field(discriminator="kind")]


class Autoencoder(MethodConfig):
    """Learn features from which the row can be rebuilt."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    needs: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    kind: Literal["autoencoder"] = "autoencoder"
    regularizer: AnyPenalty = Field(default_factory=NoPenalty, description="R and lambda.")

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """The optimizer shrinks no weights where the method already does."""
        if isinstance(self.regularizer, L1 | L2):
            return reconstruction_defaults(context, weight_decay=0.0)
        return reconstruction_defaults(context)

    def build(self, backbone: Backbone) -> "AutoencoderObjective":
        """Put the mirrored decoder behind the backbone."""
        return AutoencoderObjective(self, backbone)


class AutoencoderObjective(Objective):
    """Reports loss = reconstruction + penalty, and mse, the squared error per dimension."""

    def __init__(self, config: Autoencoder, backbone: Backbone) -> None:
        super().__init__()
        self.regularizer = config.regularizer
        self.reads_weights = isinstance(config.regularizer, L1 | L2 | Contractive)
        self.backbone = backbone
        assert isinstance(backbone, Mirrors)
        self.decoder = backbone.mirror()

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss, reconstruction, penalty, mse."""
        inputs, weights = batch.inputs, value_weights(batch.inputs)
        # (B, F) and (); series also have weights (B, C + 1, T), 0 where nothing was observed.
        features, penalty = self._encode(inputs)
        reconstruction = half_squared_error(inputs, self.decoder(features), weights)
        return {
            "loss": reconstruction + penalty,
            "reconstruction": reconstruction.detach(),
            "penalty": penalty.detach(),
            "mse": mean_squared_error(reconstruction, inputs, weights),
        }

    def _encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """c(x) (B, F), and lambda R ()."""
        if isinstance(self.regularizer, Contractive):
            features, norm = contraction(
                self.backbone, inputs, self.regularizer.projections, differentiable=self.training
            )
            return features, self.regularizer.strength * norm
        features = self.backbone(inputs)
        return features, self._penalty(features)

    def _penalty(self, features: Tensor) -> Tensor:
        match self.regularizer:
            case L2(strength=strength):
                return strength * sum_of_squares(weight_matrices(self))
            case L1(strength=strength):
                return strength * sum_of_absolutes(weight_matrices(self))
            case Sparse(strength=strength, rate=rate):
                return strength * divergence_from_rate(features, rate)
            case _:
                return features.new_zeros(())
