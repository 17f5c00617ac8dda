"""The autoencoder's loss against independent computations of 1/2 ||x - d(c(x))||^2 + lambda R(W)."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from torch.func import jacrev, vmap

from app.ml.blocks.regularizers import contraction, divergence_from_rate, squared_projections
from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import Examples, InMemory
from app.ml.fitting.evaluation import evaluate
from app.ml.interfaces import Backbone, Batch, Encoding
from app.ml.kinds.backbones.convnet import ConvNet
from app.ml.kinds.backbones.mlp import ResolvedMlp
from app.ml.kinds.methods.autoencoder import Autoencoder, AutoencoderObjective
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny


def mlp() -> Backbone:
    torch.manual_seed(1)
    return ResolvedMlp(hidden=(7, 4), activation="tanh").build(Encoding(shape=(1, 3, 4)))


def convnet() -> Backbone:
    torch.manual_seed(1)
    return ConvNet(channels=(3, 5), features=6, activation="gelu").build(Encoding(shape=(2, 7, 6)))


BACKBONES = pytest.mark.parametrize("make", [mlp, convnet])


def objective(backbone: Backbone, regularizer: dict[str, Any]) -> AutoencoderObjective:
    config = Autoencoder.model_validate({"regularizer": regularizer})
    return config.build(backbone)


def rows(backbone: Backbone) -> torch.Tensor:
    return torch.rand(5, *backbone.input_shape, generator=torch.Generator().manual_seed(2))


def reference_reconstruction(found: AutoencoderObjective, inputs: torch.Tensor) -> float:
    """Row by row and number by number, in float64 NumPy."""
    with torch.no_grad():
        again = found.decoder(found.backbone(inputs)).double().numpy()
    x = inputs.double().numpy()
    return float(np.mean([0.5 * sum((a - b) ** 2 for a, b in zip(p.flat, q.flat)) for p, q in zip(x, again)]))  # noqa: B905


def matrices(found: AutoencoderObjective) -> list[np.ndarray[Any, Any]]:
    return [value.double().numpy() for name, value in found.state_dict().items() if name.endswith("weight")]


@BACKBONES
def test_without_a_penalty_it_is_half_the_squared_error(make: Any) -> None:
    found = objective(make(), {"kind": "none"})
    inputs = rows(found.backbone)
    losses = found.loss(Batch(inputs))
    expected = reference_reconstruction(found, inputs)
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert losses["penalty"].item() == 0
    assert losses["mse"].item() == pytest.approx(2 * expected / inputs[0].numel(), rel=1e-5)


@BACKBONES
@pytest.mark.parametrize("kind", ["l2", "l1"])
def test_weight_penalties_sum_over_matrices_and_leave_biases(make: Any, kind: str) -> None:
    found = objective(make(), {"kind": kind, "strength": 0.03})
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(1000.0)
    power = 2 if kind == "l2" else 1
    expected = 0.03 * sum(float(np.sum(np.abs(matrix) ** power)) for matrix in matrices(found))
    losses = found.loss(Batch(rows(found.backbone)))
    assert losses["penalty"].item() == pytest.approx(expected, rel=1e-5)
    assert losses["loss"].item() == pytest.approx((losses["reconstruction"] + losses["penalty"]).item(), rel=1e-6)


def exact_jacobian_norm(backbone: Backbone, inputs: torch.Tensor) -> float:
    """Batch mean of ||d c(x) / d x||_F^2 by torch.func, one row at a time."""
    jacobians = vmap(jacrev(lambda row: backbone(row[None])[0]))(inputs)
    return float(jacobians.detach().double().flatten(1).square().sum(1).mean())


@BACKBONES
def test_the_contractive_penalty_is_exact_over_basis_probes(make: Any) -> None:
    backbone = make()
    inputs = rows(backbone).requires_grad_()
    basis = torch.eye(backbone.features)[:, None].expand(-1, len(inputs), -1)
    norms = squared_projections(backbone(inputs), inputs, basis, differentiable=False)
    assert norms.sum().item() == pytest.approx(exact_jacobian_norm(backbone, inputs.detach()), rel=1e-4)


@BACKBONES
def test_the_contractive_estimate_is_unbiased(make: Any) -> None:
    found = objective(make(), {"kind": "contractive", "strength": 1.0, "projections": 1024})
    inputs = rows(found.backbone)
    torch.manual_seed(3)
    estimates = torch.stack([found.loss(Batch(inputs))["penalty"] for _ in range(4)])
    assert estimates.std() > 0
    assert estimates.mean().item() == pytest.approx(exact_jacobian_norm(found.backbone, inputs), rel=0.03)


def test_the_contractive_gradient_is_that_of_the_jacobians_norm() -> None:
    backbone = mlp()
    inputs = rows(backbone).requires_grad_()
    basis = torch.eye(backbone.features)[:, None].expand(-1, len(inputs), -1)
    squared_projections(backbone(inputs), inputs, basis, differentiable=True).sum().backward()
    ours = [parameter.grad.clone() for parameter in backbone.parameters() if parameter.grad is not None]
    parameters = dict(backbone.named_parameters())

    def norm(values: dict[str, torch.Tensor]) -> torch.Tensor:
        def features(row: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(backbone, values, (row[None],))[0]  # type: ignore[no-any-return]

        return vmap(jacrev(features))(inputs.detach()).flatten(1).square().sum(1).mean()

    theirs = torch.func.grad(norm)(parameters)
    # The last bias has no gradient of ours: the Jacobian of tanh depends on it, so it must be there.
    assert len(ours) == len(parameters)
    for mine, expected in zip(ours, theirs.values(), strict=True):
        assert torch.allclose(mine, expected, rtol=1e-3, atol=1e-6)


def test_measuring_uses_fixed_probes_and_training_fresh_ones() -> None:
    found = objective(mlp(), {"kind": "contractive", "strength": 1.0})
    batch = Batch(rows(found.backbone))
    assert found.loss(batch)["penalty"] != found.loss(batch)["penalty"]
    random = torch.get_rng_state()
    examples = Examples(InMemory(batch.inputs), {})
    first, second = (evaluate(found, examples, "validation").losses["penalty"] for _ in range(2))
    assert first == second
    assert torch.equal(random, torch.get_rng_state())


def test_a_contracted_backbone_moves_less_with_its_input() -> None:
    def trained(strength: float) -> float:
        found = objective(mlp(), {"kind": "contractive", "strength": strength})
        inputs = rows(found.backbone)
        optimizer = torch.optim.Adam(found.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            found.loss(Batch(inputs))["loss"].backward()
            optimizer.step()
        return exact_jacobian_norm(found.backbone, inputs)

    assert trained(1.0) < 0.5 * trained(0.0)


@BACKBONES
@pytest.mark.parametrize("projections", [16, 40])
def test_many_projections_in_parts_have_the_penalty_and_gradient_of_all_at_once(make: Any, projections: int) -> None:
    backbone = make()
    inputs = rows(backbone)
    torch.manual_seed(4)
    features, penalty = contraction(backbone, inputs, projections, differentiable=True)
    (2 * penalty).backward()
    ours = [parameter.grad.clone() for parameter in backbone.parameters() if parameter.grad is not None]
    torch.manual_seed(4)
    parts = [min(16, projections - start) for start in range(0, projections, 16)]
    signs = torch.cat([torch.randint(0, 2, (count, *features.shape)).float() * 2 - 1 for count in parts])
    moved = inputs.clone().requires_grad_()
    expected = squared_projections(backbone(moved), moved, signs, differentiable=True).mean()
    theirs = torch.autograd.grad(2 * expected, list(backbone.parameters()), allow_unused=True)
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)
    present = [one for one in theirs if one is not None]
    assert len(ours) == len(present)
    assert all(torch.allclose(mine, other, rtol=1e-4, atol=1e-7) for mine, other in zip(ours, present, strict=True))


def test_the_sparse_penalty_is_the_divergence_of_two_coins() -> None:
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(5))
    expected = 0.0
    for column in features.double().numpy().T:
        mean = float(np.mean([1 - np.exp(-abs(value)) for value in column]))
        coins = [Bernoulli(torch.tensor(p, dtype=torch.float64)) for p in (0.1, mean)]
        expected += kl_divergence(*coins).item()
    assert divergence_from_rate(features, 0.1).item() == pytest.approx(expected, rel=1e-5)
    assert divergence_from_rate(torch.zeros(2, 3), 0.1).isfinite()


def test_a_sparse_autoencoder_is_silent_for_most_rows() -> None:
    def activity(strength: float) -> float:
        found = objective(mlp(), {"kind": "sparse", "strength": strength})
        inputs = rows(found.backbone)
        optimizer = torch.optim.Adam(found.parameters(), 0.01)
        for _ in range(150):
            optimizer.zero_grad()
            found.loss(Batch(inputs))["loss"].backward()
            optimizer.step()
        return (1 - (-found.backbone(inputs).abs()).exp()).mean().item()

    assert activity(10.0) < 0.1 < activity(0.0)


def test_steps_of_a_series_that_were_not_observed_do_not_count() -> None:
    torch.manual_seed(6)
    found = Autoencoder().build(ResolvedMlp(hidden=(5,)).build(Encoding(shape=(3, 4))))
    inputs = torch.randn(2, 3, 4)
    inputs[:, 2] = torch.tensor([[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    inputs[:, :2] *= inputs[:, 2:]
    again = found.decoder(found.backbone(inputs)).detach().numpy()
    expected = []
    for row, rebuilt in zip(inputs.numpy(), again, strict=True):
        expected += [
            (row[channel, step] - rebuilt[channel, step]) ** 2
            for channel in range(2)
            for step in range(4)
            if row[2, step]
        ]
    losses = found.loss(Batch(inputs))
    assert losses["loss"].item() == pytest.approx(sum(expected) / 2 / 2, rel=1e-5)
    assert losses["mse"].item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


@pytest.mark.parametrize(("kind", "decay"), [("l2", 0.0), ("l1", 0.0), ("contractive", 0.01), ("none", 0.01)])
def test_adamw_shrinks_no_weights_where_the_method_does(kind: str, decay: float) -> None:
    config = PretrainingConfig.model_validate({"method": {"kind": "autoencoder", "regularizer": {"kind": kind}}})
    assert resolve_pretraining(config, tiny.images().spec).config.training.optimizer.weight_decay == decay
