"""The regularised autoencoder: min over c and d of  1/2 ||x - d(c(x))||^2 + lambda R(W).

c is the backbone, d its mirror; the squared norm runs over a row's dimensions and is averaged over the batch, so the
loss is the published one per row. R is one of
    l2           the sum of W_ij^2 over the weight matrices (not the biases) of c and d
    l1           the sum of |W_ij| over the same
    contractive  the batch mean of ||d c(x) / d x||_F^2, Rifai et al., "Contractive auto-encoders: explicit
                 invariance during feature extraction", 2011; estimated without bias from random projections
                 (Hutchinson, 1990), since E ||v^T J||^2 = ||J||_F^2 for v of uncorrelated entries with mean 0
                 and variance 1
Rumelhart, Hinton and Williams 1986; Bengio, Courville and Vincent, "Representation learning", 2013.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from pydantic import Field
from torch import Tensor, nn

from app.ml.abilities import Ability, Mirrors
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, Batch, Losses, MethodConfig, Objective
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


AnyPenalty = Annotated[NoPenalty | L2 | L1 | Contractive, Field(discriminator="kind")]


class Autoencoder(MethodConfig):
    """Learn features from which the row can be rebuilt."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    needs: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    kind: Literal["autoencoder"] = "autoencoder"
    regularizer: AnyPenalty = Field(default_factory=NoPenalty, description="R and lambda.")

    def build(self, backbone: Backbone) -> "AutoencoderObjective":
        """Put the mirrored decoder behind the backbone."""
        return AutoencoderObjective(self, backbone)


class AutoencoderObjective(Objective):
    """Reports loss = reconstruction + penalty, and mse, the squared error per dimension."""

    def __init__(self, config: Autoencoder, backbone: Backbone) -> None:
        super().__init__()
        self.regularizer = config.regularizer
        self.backbone = backbone
        assert isinstance(backbone, Mirrors)  # noqa: S101 - for programmers: recipes see to it
        self.decoder = backbone.mirror()

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss, reconstruction, penalty, mse."""
        inputs = batch.inputs
        features, penalty = self._encode(inputs)
        reconstruction = half_squared_error(inputs, self.decoder(features))
        return {
            "loss": reconstruction + penalty,
            "reconstruction": reconstruction.detach(),
            "penalty": penalty.detach(),
            "mse": reconstruction.detach() * (2 / inputs[0].numel()),
        }

    def _encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """c(x) (B, F), and lambda R(W) ()."""
        match self.regularizer:
            case NoPenalty():
                return self.backbone(inputs), inputs.new_zeros(())
            case L2(strength=strength):
                return self.backbone(inputs), strength * sum_of_squares(weight_matrices(self))
            case L1(strength=strength):
                return self.backbone(inputs), strength * sum_of_absolutes(weight_matrices(self))
            case Contractive(strength=strength):
                return self._encode_contractively(inputs, strength)

    def _encode_contractively(self, inputs: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():  # the penalty is a derivative, also where the loss is only measured
            moved = inputs.detach().requires_grad_()
            features = self.backbone(moved)
            norms = squared_projections(features, moved, self._probes(features), differentiable=self.training)
        return features, strength * norms.mean()

    def _probes(self, features: Tensor) -> Tensor:
        """Random signs (P, B, F)."""
        assert isinstance(self.regularizer, Contractive)  # noqa: S101 - for programmers
        shape = (self.regularizer.projections, *features.shape)
        signs = torch.randint(0, 2, shape, device=features.device)
        return signs.to(features.dtype) * 2 - 1


def half_squared_error(inputs: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean over the batch of 1/2 ||x - r||^2; both (B, ...), result ()."""
    return F.mse_loss(reconstructions, inputs, reduction="sum") / (2 * len(inputs))


def weight_matrices(module: nn.Module) -> Iterable[Tensor]:
    """The weights of linear and convolutional layers: parameters of two or more dimensions, never biases."""
    return (parameter for parameter in module.parameters() if parameter.ndim > 1)


def sum_of_squares(weights: Iterable[Tensor]) -> Tensor:
    """The sum of W_ij^2 over all matrices, ()."""
    return torch.stack([weight.square().sum() for weight in weights]).sum()


def sum_of_absolutes(weights: Iterable[Tensor]) -> Tensor:
    """The sum of |W_ij| over all matrices, ()."""
    return torch.stack([weight.abs().sum() for weight in weights]).sum()


def squared_projections(features: Tensor, inputs: Tensor, probes: Tensor, *, differentiable: bool) -> Tensor:
    """Per probe v, the batch mean of ||v^T J||^2, where J = d features / d inputs of a row.

    features (B, F), inputs (B, ...), probes (P, B, F), result (P,). Over random signs its mean estimates
    ||J||_F^2 without bias; over the F basis vectors its sum is ||J||_F^2 exactly.
    """
    norms = []
    for probe in probes:
        (gradient,) = torch.autograd.grad(
            features, inputs, probe, create_graph=differentiable, retain_graph=True
        )  # a row's features depend on that row alone: this is v^T J of each row
        norms.append(gradient.flatten(1).square().sum(1).mean())
    return torch.stack(norms)
