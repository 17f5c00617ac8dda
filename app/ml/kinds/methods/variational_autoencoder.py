"""The variational autoencoder: maximise the evidence lower bound of a row.

    ELBO(x) = E_q(z|x)[log p(x|z)] - beta KL(q(z|x) || p(z)),    p(z) = N(0, I),  q(z|x) = N(mu(x), diag sigma(x)^2)

with one sample of z per row by the reparameterisation z = mu + sigma * epsilon. Kingma and Welling, "Auto-encoding
variational Bayes", 2014 (equation 10 and appendix B); beta: Higgins et al., "beta-VAE", 2017. log p(x|z) is
    bernoulli  the sum over dimensions of x log m + (1 - x) log(1 - m), with logits from the decoder
    gaussian   log N(x; m, s^2 I) with all its constants and one learned variance s^2 for all dimensions (Rybkin,
               Daniilidis and Levine, "Simple and effective VAE training with calibrated decoders", 2021)
The loss is the negative ELBO in nats per row. Two remedies for a posterior that collapses onto the prior: beta may
rise linearly from 0 over a share of the training (Bowman et al., "Generating sentences from a continuous space", 2016;
a measured loss always counts all of it), and a dimension whose divergence, averaged over the batch, is below
`free_bits` does not count less than that (Kingma et al., "Improved variational inference with inverse autoregressive
flow", 2016). `active_units` shows a collapse: the share of latent dimensions with a mean divergence above 0.01 nats.

The backbone's features, before mu and sigma, are what is transferred. Whoever uses mu instead should scale its
dimensions together, never one by one: a collapsed one is noise, and would become as loud as the others. Steps
that a series did not observe have no likelihood.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.reconstruction import reconstruction_defaults, value_weights
from app.ml.blocks.shards import drawn_like, row_mean
from app.ml.errors import ConfigError
from app.ml.fields import Auto, Integer, Real
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
from app.ml.spec import ModalityKind

_MAX_LOG_VARIANCE = 20.0  # e^20 is far beyond use; above it the value grows slowly, so that exp() stays finite
_MIN_LOG_VARIANCE = -12.0
_ACTIVE = 0.01  # nats


Dimensions = Annotated[Integer, Field(ge=1, le=4096)]


class VariationalAutoencoder(MethodRequest):
    """Learn a distribution of features from which rows can be sampled."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series")
    needs: ClassVar[frozenset[Ability]] = frozenset({"mirror"})
    kind: Literal["vae"] = "vae"
    likelihood: Literal["auto", "bernoulli", "gaussian"] = Field(
        "auto", description="p(x|z): bernoulli for values in [0, 1], gaussian for any."
    )
    beta: Real = Field(1.0, ge=0, le=1000, description="Weight of the KL divergence; 1 is the lower bound itself.")
    warmup: Real = Field(
        0.0, ge=0, le=1, description="Share of the training in which beta rises from 0; what is measured counts all."
    )
    free_bits: Real = Field(
        0.0, ge=0, le=100, description="Nats of divergence that a dimension of z may have at no further cost."
    )
    latent: Auto[Dimensions] = Field("auto", description="Dimensions of z.")

    @classmethod
    def resolved_type(cls) -> "type[ResolvedVariationalAutoencoder]":
        """Return the class that builds."""
        return ResolvedVariationalAutoencoder

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` for a likelihood of values in [0, 1] where they are not."""
        if self.likelihood == "bernoulli" and context.modality != "image":
            msg = f"bernoulli needs values between 0 and 1, and this data is {context.modality}: choose gaussian"
            raise ConfigError(("likelihood",), msg)

    def choices(self, context: ResolutionContext) -> Choices:
        """Bernoulli for images, gaussian for tables and series; 32 latent dimensions."""
        bernoulli = ("bernoulli", "pixels lie between 0 and 1")
        gaussian = ("gaussian", "standardised values are unbounded")
        return {
            "likelihood": bernoulli if context.modality == "image" else gaussian,
            "latent": (min(32, math.prod(context.shape)), "32, or as many as a row has values"),
        }

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """That of every reconstruction."""
        return reconstruction_defaults(context)


class ResolvedVariationalAutoencoder(VariationalAutoencoder, MethodConfig):
    """The same with a known likelihood and number of latent dimensions."""

    likelihood: Literal["bernoulli", "gaussian"]
    latent: Dimensions

    def build(self, backbone: Backbone) -> "VariationalAutoencoderObjective":
        """Put mu, sigma and the mirrored decoder behind the backbone."""
        return VariationalAutoencoderObjective(self, backbone)


class VariationalAutoencoderObjective(Objective):
    """Reports loss = reconstruction + beta * kl, in nats per row; reconstruction is -log p(x|z). And active_units."""

    warmth: float = 1.0  # share of beta that counts in the training loss

    def __init__(self, config: ResolvedVariationalAutoencoder, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.posterior = nn.Linear(backbone.features, 2 * config.latent)
        self.from_latent = nn.Sequential(nn.Linear(config.latent, backbone.features), nn.ReLU())
        assert isinstance(backbone, Mirrors)
        self.decoder = backbone.mirror()
        if config.likelihood == "gaussian":
            self.log_variance = nn.Parameter(torch.zeros(()))

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss, reconstruction, kl, active_units."""
        mean, log_variance = self.encode(batch.inputs)  # (B, Z) each
        latents = reparameterize(mean, log_variance, drawn_like(torch.randn_like, mean))
        reconstruction = -self.log_likelihood(batch.inputs, self.decode(latents)).mean()
        divergences = row_mean(divergences_of(mean, log_variance).mean(0))  # (Z,), means over the batch
        # What is measured counts all of beta, so that losses of different steps can be compared.
        beta = self.config.beta * (self.warmth if self.training else 1.0)
        return {
            "loss": reconstruction + beta * divergences.clamp(min=self.config.free_bits).sum(),
            "reconstruction": reconstruction.detach(),
            "kl": divergences.detach().sum(),
            "active_units": (divergences.detach() > _ACTIVE).float().mean(),
        }

    def begin(self, step: int, total: int) -> None:
        """Raise beta linearly from 0; after the warm-up it counts in full."""
        steps = self.config.warmup * total
        self.warmth = min(1.0, step / steps) if steps else 1.0

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mu and log sigma^2 of q(z|x), each (B, Z)."""
        # In float32: a variance and a divergence are exponentials.
        mean, log_variance = self.posterior(self.backbone(inputs)).float().chunk(2, dim=1)
        return mean, softly_bounded(log_variance)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to the likelihood's parameters (B, *shape): logits or means."""
        return self.decoder(self.from_latent(latents)).float()  # type: ignore[no-any-return]

    def log_likelihood(self, inputs: Tensor, decoded: Tensor) -> Tensor:
        """Log p(x|z) per row, (B,)."""
        if self.config.likelihood == "bernoulli":
            return bernoulli_log_likelihood(inputs, decoded)
        return gaussian_log_likelihood(inputs, decoded, floored(self.log_variance), value_weights(inputs))


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Z = mu + sigma * epsilon; all (B, Z)."""
    return mean + noise * (0.5 * log_variance).exp()


def divergences_of(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) per dimension: 1/2 (mu^2 + sigma^2 - log sigma^2 - 1). (B, Z) to (B, Z)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, diag sigma^2) || N(0, I)) per row, the sum over dimensions. (B, Z) to (B,)."""
    return divergences_of(mean, log_variance).sum(1)


def bernoulli_log_likelihood(inputs: Tensor, logits: Tensor) -> Tensor:
    """Sum over dimensions of x log m + (1 - x) log(1 - m), m = sigmoid(logits). (B, ...) to (B,)."""
    return -F.binary_cross_entropy_with_logits(logits, inputs, reduction="none").flatten(1).sum(1)


def gaussian_log_likelihood(
    inputs: Tensor, mean: Tensor, log_variance: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Log N(x; m, s^2 I) with constants, of the values whose weight is 1; (B, ...), (B, ...), () to (B,)."""
    densities = -0.5 * ((inputs - mean).square() / log_variance.exp() + math.log(2 * math.pi) + log_variance)
    return (densities if weights is None else densities * weights).flatten(1).sum(1)


def softly_bounded(log_variance: Tensor) -> Tensor:
    """As it is within +-20, beyond that 20 + log(1 + excess): a clamp there has no gradient, and no way back."""
    excess = (log_variance.abs() - _MAX_LOG_VARIANCE).clamp(min=0)
    return log_variance.clamp(-_MAX_LOG_VARIANCE, _MAX_LOG_VARIANCE) + log_variance.sign() * excess.log1p()


def floored(log_variance: Tensor) -> Tensor:
    """Smoothly at least -12, so that a perfect reconstruction has a finite density. () to ()."""
    return _MIN_LOG_VARIANCE + F.softplus(log_variance - _MIN_LOG_VARIANCE)
