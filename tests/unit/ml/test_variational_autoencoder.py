"""The evidence lower bound against torch.distributions, closed forms and Monte Carlo."""

import math
from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence

from app.ml.blocks.reconstruction import value_weights
from app.ml.errors import ConfigError
from app.ml.interfaces import Backbone, Batch, Encoding, ResolutionContext
from app.ml.interfaces.abilities import Mirrors
from app.ml.kinds.backbones.convnet import ConvNet
from app.ml.kinds.backbones.mlp import ResolvedMlp
from app.ml.kinds.methods import variational_autoencoder as vae
from app.ml.kinds.methods.variational_autoencoder import (
    ResolvedVariationalAutoencoder,
    VariationalAutoencoder,
    VariationalAutoencoderObjective,
)

SHAPE = (1, 6, 5)
CHOICES: list[Any] = [ResolvedMlp(hidden=(9, 8)), ConvNet(channels=(3, 4), features=8)]
EVERY = pytest.mark.parametrize("backbone", CHOICES, ids=["mlp", "convnet"])


def objective(backbone: Any, likelihood: str, beta: float = 1.0) -> VariationalAutoencoderObjective:
    torch.manual_seed(5)
    config = ResolvedVariationalAutoencoder.model_validate({"likelihood": likelihood, "latent": 3, "beta": beta})
    return config.build(backbone.build(Encoding(shape=SHAPE)))


def rows() -> torch.Tensor:
    return torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(6))


def posterior(mean: torch.Tensor, log_variance: torch.Tensor) -> Independent:
    return Independent(Normal(mean, (0.5 * log_variance).exp()), 1)


def prior(latent: int) -> Independent:
    return Independent(Normal(torch.zeros(latent), torch.ones(latent)), 1)


def likelihood_of(found: VariationalAutoencoderObjective, latents: torch.Tensor) -> Independent:
    decoded = found.decode(latents)
    if found.config.likelihood == "bernoulli":
        return Independent(Bernoulli(logits=decoded, validate_args=False), len(SHAPE))
    return Independent(Normal(decoded, (0.5 * vae.floored(found.log_variance)).exp()), len(SHAPE))


def test_the_divergence_is_the_closed_form() -> None:
    mean, log_variance = torch.randn(6, 4), torch.randn(6, 4)
    expected = kl_divergence(posterior(mean, log_variance), prior(4))
    assert torch.allclose(vae.kl_divergence(mean, log_variance), expected, rtol=1e-5)


def test_the_divergence_is_what_sampling_says() -> None:
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[-1.0, 0.3]])
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(7))
    latents = vae.reparameterize(mean, log_variance, noise)
    sampled = posterior(mean, log_variance).log_prob(latents) - prior(2).log_prob(latents)
    assert vae.kl_divergence(mean, log_variance).item() == pytest.approx(sampled.mean().item(), rel=0.02)


def test_reparameterised_samples_have_the_posteriors_moments() -> None:
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[-1.0, 0.3]])
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(8))
    latents = vae.reparameterize(mean, log_variance, noise)
    assert torch.allclose(latents.mean(0), mean[0], atol=0.01)
    assert torch.allclose(latents.var(0), log_variance[0].exp(), rtol=0.02)


@EVERY
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_log_likelihood_is_the_full_density(backbone: Any, likelihood: str) -> None:
    found = objective(backbone, likelihood)
    latents = torch.randn(4, 3)
    ours = found.log_likelihood(rows(), found.decode(latents))
    assert torch.allclose(ours, likelihood_of(found, latents).log_prob(rows()), rtol=1e-4)


def test_the_gaussian_counts_its_constants_and_its_variance() -> None:
    inputs, mean = torch.rand(3, 7), torch.rand(3, 7)
    log_variance = torch.tensor(-1.3)
    expected = Normal(mean, (0.5 * log_variance).exp()).log_prob(inputs).sum(1)
    assert torch.allclose(vae.gaussian_log_likelihood(inputs, mean, log_variance), expected, rtol=1e-5)


@EVERY
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_loss_is_the_negative_bound_on_average(backbone: Any, likelihood: str, beta: float) -> None:
    found = objective(backbone, likelihood, beta)
    torch.manual_seed(9)
    with torch.no_grad():
        ours = torch.stack([found.loss(Batch(rows()))["loss"] for _ in range(300)]).mean()
        q = posterior(*found.encode(rows()))
        expected = [
            -likelihood_of(found, z).log_prob(rows()).mean() - beta * (prior(3).log_prob(z) - q.log_prob(z)).mean()
            for z in (q.sample() for _ in range(300))
        ]
    assert ours.item() == pytest.approx(torch.stack(expected).mean().item(), rel=0.02)


def test_the_parts_add_up_with_beta() -> None:
    losses = objective(CHOICES[0], "bernoulli", 4.0).loss(Batch(rows()))
    total = losses["reconstruction"] + 4.0 * losses["kl"]
    assert losses["loss"].item() == pytest.approx(total.item(), rel=1e-6)


class Identity(Backbone, Mirrors):
    """Rows (B, D) as they are."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.encoding, self.features = Encoding(shape=(size,)), size

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs

    def layers(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        return [inputs]

    def mirror(self) -> torch.nn.Module:
        return torch.nn.Identity()


def linear_gaussian() -> tuple[VariationalAutoencoderObjective, MultivariateNormal, torch.Tensor]:
    """Z ~ N(0, I), x = W z + b + s noise with orthogonal columns, encoded by the exact posterior, which is diagonal.

    Also the exact p(x), and the posterior's variances.
    """
    config = ResolvedVariationalAutoencoder(likelihood="gaussian", latent=2)
    found = config.build(Identity(4))
    weight = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]) * torch.tensor([0.9, 0.4])
    offset, variance = torch.tensor([0.5, -1.0, 2.0, 0.0]), vae.floored(torch.tensor(-1.0)).exp().item()
    decoder = torch.nn.Linear(2, 4)
    found.from_latent, found.decoder = torch.nn.Sequential(), decoder
    spread = 1 / (weight.square().sum(0) / variance + 1)
    gain = spread[:, None] * weight.T / variance
    with torch.no_grad():
        found.log_variance.fill_(-1.0)
        decoder.weight.copy_(weight)
        decoder.bias.copy_(offset)
        found.posterior.weight.copy_(torch.cat([gain, torch.zeros(2, 4)]))
        found.posterior.bias.copy_(torch.cat([-gain @ offset, spread.log()]))
    evidence = MultivariateNormal(offset, weight @ weight.T + variance * torch.eye(4))
    return found, evidence, spread


@pytest.mark.parametrize("row", [[0.5, -1.0, 2.0, 0.0], [2.0, 1.0, -1.0, 0.5]])
def test_the_bound_is_the_exact_likelihood_under_the_exact_posterior(row: list[float]) -> None:
    """And below it by exactly KL(q || posterior) under another q."""
    found, evidence, spread = linear_gaussian()
    torch.manual_seed(10)
    batch = Batch(torch.tensor([row]).expand(100_000, 4))
    exact = evidence.log_prob(torch.tensor(row)).item()
    with torch.no_grad():
        assert -found.loss(batch)["loss"].item() == pytest.approx(exact, abs=0.02)
        shift = torch.tensor([0.3, -0.5])
        found.posterior.bias[:2] += shift
        found.posterior.bias[2:] += 0.7
        widened = 0.5 * (math.exp(0.7) - 1 - 0.7) * 2
        gap = 0.5 * (shift.square() / spread).sum().item() + widened
        assert gap > 0.5
        assert -found.loss(batch)["loss"].item() == pytest.approx(exact - gap, abs=0.02)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("start", [25.0, -25.0])
def test_a_posterior_far_too_wide_or_narrow_finds_back(likelihood: str, start: float) -> None:
    found = objective(CHOICES[0], likelihood)
    with torch.no_grad():
        found.posterior.bias[3:] = start
    optimizer = torch.optim.Adam(found.parameters(), 0.03)
    reported = []
    for _ in range(200):
        losses = found.loss(Batch(rows()))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        reported.append((losses["loss"].item(), losses["kl"].item()))
    assert all(math.isfinite(value) for pair in reported for value in pair)
    assert reported[-1][0] < 0.8 * reported[0][0]
    assert reported[-1][1] < 0.9 * reported[0][1]


def test_log_variances_in_use_are_untouched_and_the_bound_is_smooth() -> None:
    inside = torch.linspace(-20, 20, 401)
    assert torch.equal(vae.softly_bounded(inside), inside)
    outside = torch.tensor([-1e6, -25.0, -20.001, 20.001, 25.0, 1e6], requires_grad=True)
    bounded = vae.softly_bounded(outside)
    assert torch.equal(bounded, bounded.sort().values)
    assert bounded.abs().max() < 40
    (slope,) = torch.autograd.grad(bounded.sum(), outside)
    assert (slope > 0).all()
    assert slope[2:4].tolist() == pytest.approx([1, 1], abs=0.01)


def test_extreme_encodings_stay_finite() -> None:
    found = objective(CHOICES[0], "gaussian")
    with torch.no_grad():
        found.posterior.bias.fill_(1e6)
    assert found.loss(Batch(rows()))["loss"].isfinite()


def test_auto_follows_the_data_and_bernoulli_refuses_tables() -> None:
    image, table = ResolutionContext("image", (6, 5, 1), 10), ResolutionContext("table", (4,), 10)
    resolved, decisions = VariationalAutoencoder().resolve(image)
    assert (resolved.likelihood, resolved.latent) == ("bernoulli", 30)
    assert {decision.field for decision in decisions} == {"likelihood", "latent"}
    assert VariationalAutoencoder().resolve(table)[0].likelihood == "gaussian"
    with pytest.raises(ConfigError, match="choose gaussian"):
        VariationalAutoencoder(likelihood="bernoulli").resolve(table)


def test_beta_warms_up_while_training_and_counts_whole_when_measured() -> None:
    config = ResolvedVariationalAutoencoder(likelihood="bernoulli", latent=3, beta=4.0, warmup=0.5)
    torch.manual_seed(11)
    found = config.build(CHOICES[0].build(Encoding(shape=SHAPE)))
    for step, share in [(0, 0.0), (10, 0.5), (20, 1.0), (39, 1.0)]:
        found.begin(step, 40)
        losses = found.train().loss(Batch(rows()))
        assert losses["loss"].item() == pytest.approx((losses["reconstruction"] + 4 * share * losses["kl"]).item())
        measured = found.eval().loss(Batch(rows()))
        assert measured["loss"].item() == pytest.approx((measured["reconstruction"] + 4 * measured["kl"]).item())
    without = ResolvedVariationalAutoencoder(likelihood="bernoulli", latent=3).build(
        CHOICES[0].build(Encoding(shape=SHAPE))
    )
    without.begin(0, 40)
    assert without.warmth == 1


def test_free_bits_cost_nothing_and_have_no_gradient() -> None:
    found = objective(CHOICES[0], "bernoulli")
    found.config = found.config.model_copy(update={"free_bits": 0.7})
    with torch.no_grad():
        found.posterior.weight.zero_()
        found.posterior.bias.copy_(torch.tensor([2.0, 0.1, 0.0, 0.0, 0.0, 0.0]))  # KL 2, 0.005 and 0 nats
    losses = found.loss(Batch(rows()))
    assert losses["kl"].item() == pytest.approx(2.005, rel=1e-5)
    assert (losses["loss"] - losses["reconstruction"]).item() == pytest.approx(2 + 0.7 + 0.7, rel=1e-5)
    assert losses["active_units"].item() == pytest.approx(1 / 3)


def test_a_collapsed_posterior_is_told() -> None:
    def gauges(beta: float) -> dict[str, float]:
        found = objective(CHOICES[0], "bernoulli", beta)
        optimizer = torch.optim.Adam(found.parameters(), 0.02)
        for _ in range(250):
            optimizer.zero_grad()
            losses = found.loss(Batch(rows()))
            losses["loss"].backward()
            optimizer.step()
        return {name: value.item() for name, value in losses.items()}

    assert gauges(1000.0)["active_units"] == 0
    assert gauges(0.01)["active_units"] > 0.6


def test_steps_of_a_series_that_were_not_observed_have_no_likelihood() -> None:
    inputs, mean = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    inputs[:, 2] = torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    log_variance = torch.tensor(0.4)
    ours = vae.gaussian_log_likelihood(inputs, mean, log_variance, value_weights(inputs))
    densities = Normal(mean, (0.5 * log_variance).exp()).log_prob(inputs)[:, :2]
    expected = [densities[0][:, [0, 1, 3]].sum().item(), 0.0]
    assert ours.tolist() == pytest.approx(expected, rel=1e-5)
