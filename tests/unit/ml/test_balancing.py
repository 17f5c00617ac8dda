"""Balancing against the papers' algorithms written out by hand, and what a row without a target teaches: nothing."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.ml.configs.learning import FineTuningConfig
from app.ml.errors import ConfigError
from app.ml.interfaces import Batch
from app.ml.kinds.balancing.base import LossBalancer, TaskLosses
from app.ml.kinds.balancing.fixed import Fixed
from app.ml.kinds.balancing.gradnorm import GradNorm, NormedGradients
from app.ml.kinds.balancing.pcgrad import PcGrad
from app.ml.kinds.balancing.uncertainty import Uncertainty
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.regressor import Regressor
from app.ml.learning.task_affinity import Affinity
from app.ml.models.assembly import FineTuning
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from tests.support import tiny
from tests.support.texts import run_of
from worker.training.run import Run

HEADS = (Classifier(target="a"), Regressor(target="b"), Classifier(target="c"))
LABEL, SIZE = {"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}
KINDS = ("fixed", "uncertainty", "gradnorm", "pcgrad")


def toy(seed: int = 0) -> tuple[nn.Parameter, nn.Parameter, Tensor]:
    """A shared vector, one of three numbers of their own, and losses that pull the shared one several ways."""
    random = torch.Generator().manual_seed(seed)
    shared = nn.Parameter(torch.randn(6, generator=random))
    own = nn.Parameter(torch.randn(3, generator=random))
    goals = torch.randn(3, 6, generator=random) * torch.tensor([[1.0], [3.0], [0.3]])
    return shared, own, ((shared - goals).square().sum(1) + own).square()


def tasks_of(
    losses: Tensor, shared: nn.Parameter, own: nn.Parameter, present: tuple[bool, ...] = (True,) * 3
) -> TaskLosses:
    return TaskLosses(losses, torch.tensor(present), [shared], [shared], [own])


def by_the_paper(slopes: list[Tensor], seed: int) -> Tensor:
    """Algorithm 1 of Yu et al., on the vectors themselves."""
    torch.manual_seed(seed)
    found = []
    for task, slope in enumerate(slopes):
        mine = slope.clone()
        for other in torch.randperm(len(slopes)).tolist():
            if other != task and torch.dot(mine, slopes[other]) < 0:
                mine = mine - torch.dot(mine, slopes[other]) / slopes[other].square().sum() * slopes[other]
        found.append(mine)
    return torch.stack(found).sum(0)


@pytest.mark.parametrize("seed", range(8))
def test_pcgrad_is_the_papers_algorithm(seed: int) -> None:
    shared, own, losses = toy(seed)
    slopes = [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses]
    own_slope = torch.autograd.grad(losses.sum(), own, retain_graph=True)[0]
    expected = by_the_paper(slopes, seed)
    against = min(torch.dot(one, other) for one in slopes for other in slopes) < 0
    assert torch.allclose(expected, torch.stack(slopes).sum(0)) != against, "they are left alone unless they conflict"
    torch.manual_seed(seed)
    total, _ = PcGrad().build(HEADS).combine(tasks_of(losses, shared, own))
    (2 * total).backward()  # type: ignore[no-untyped-call]
    assert total.item() == losses.sum().item()
    assert shared.grad is not None
    assert torch.allclose(shared.grad, 2 * expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert own.grad is not None
    assert torch.allclose(own.grad, 2 * own_slope)


def test_gradnorm_moves_down_the_slope_of_its_own_loss() -> None:
    shared, own, losses = toy()
    balance = GradNorm(alpha=0.7, rate=0.05).build(HEADS)
    with torch.no_grad():
        balance.weights.copy_(torch.tensor([0.5, 1.2, 1.3]))
        balance.first.copy_(torch.tensor([900.0, 4000.0, -1.0]))
    norms = torch.stack([torch.autograd.grad(loss, shared, retain_graph=True)[0].norm() for loss in losses])
    logs = balance.weights.log().requires_grad_()
    weights = logs.exp()
    ratios = losses.detach() / torch.tensor([900.0, 4000.0, losses[2].item()])
    target = ((weights * norms).mean() * (ratios / ratios.mean()) ** 0.7).detach()
    slope = torch.autograd.grad((weights * norms - target).abs().sum(), logs)[0]
    moved = (logs - 0.05 * slope / (logs.exp() * norms).mean()).exp().detach()
    total, told = balance.combine(tasks_of(losses, shared, own))
    assert total.item() == pytest.approx((weights * losses).sum().item())
    assert told is not None
    assert told.tolist() == pytest.approx(weights.tolist())
    assert balance.weights.tolist() == pytest.approx((moved * 3 / moved.sum()).tolist(), rel=1e-5)
    assert balance.first[2].item() == losses[2].item(), "a head's first loss is kept"


def test_gradnorm_makes_heads_pull_alike() -> None:
    shared, _, _ = toy()
    balance = GradNorm(alpha=0.0).build(HEADS)
    scales = torch.tensor([1.0, 40.0, 0.2])
    for _ in range(400):
        losses = scales * (shared - torch.eye(3, 6)).square().sum(1)
        balance.combine(TaskLosses(losses, torch.ones(3, dtype=torch.bool), [shared], [shared], []))
    norms = torch.stack([torch.autograd.grad(loss, shared, retain_graph=True)[0].norm() for loss in losses])
    pulls = balance.weights * norms
    assert pulls.max() < 1.5 * pulls.min()
    assert balance.weights.sum().item() == pytest.approx(3)


def test_gradnorm_minds_only_heads_whose_targets_are_there() -> None:
    shared, own, losses = toy()
    balance = GradNorm().build(HEADS)
    balance.combine(tasks_of(losses, shared, own, (True, True, False)))
    assert balance.first[2].item() == -1, "not seen yet"
    fresh = GradNorm().build(HEADS[:2])
    fresh.combine(TaskLosses(losses[:2], torch.ones(2, dtype=torch.bool), [shared], [shared], [own]))
    ratio = balance.weights[0] / balance.weights[1]
    assert ratio.item() == pytest.approx((fresh.weights[0] / fresh.weights[1]).item(), rel=1e-5)


def test_uncertainty_settles_where_every_head_counts_by_its_inverse_loss() -> None:
    balance = Uncertainty().build(HEADS)
    losses = torch.tensor([0.7, 0.02, 2.0])
    optimizer = torch.optim.Adam(balance.parameters(), 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        tasks = TaskLosses(losses, torch.ones(3, dtype=torch.bool), [], [], [])
        balance.combine(tasks)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    expected = torch.log(2 * losses * torch.tensor([1.0, 0.5, 1.0]))
    assert balance.log_variances.tolist() == pytest.approx(expected.tolist(), abs=1e-3)
    weights = balance.combine(tasks)[1]
    assert weights is not None
    assert (weights * losses).tolist() == pytest.approx([0.5] * 3, abs=1e-3)


def test_uncertainty_learns_nothing_of_a_head_whose_target_is_nowhere() -> None:
    balance = Uncertainty().build(HEADS)
    tasks = TaskLosses(torch.tensor([0.7, 0.0, 2.0]), torch.tensor([True, False, True]), [], [], [])
    balance.combine(tasks)[0].backward()  # type: ignore[no-untyped-call]
    assert balance.log_variances.grad is not None
    assert balance.log_variances.grad[1].item() == 0
    assert balance.log_variances.grad[0].item() != 0


def test_fixed_weights_are_measured_too() -> None:
    balance: LossBalancer = Fixed(weights={"b": 0.25}).build(HEADS)
    assert balance.total(torch.tensor([1.0, 4.0, 2.0])).item() == 4


def together(balancing: dict[str, Any], *, train: bool = True, **fields: Any) -> Run:
    request = {"heads": [LABEL, SIZE], "strategy": {"kind": "full"}, "balancing": balancing, **fields}
    return run_of(tiny.table(), {"training": {"epochs": 6, "batch_size": 8}, **request}, train=train)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_a_target_gives_its_head_no_gradient(kind: str) -> None:
    run = together({"kind": kind}, train=False)
    objective = run.state.objective
    assert isinstance(objective, FineTuning)
    batch = run.examples("train").batch(None)
    unknown = Batch(batch.inputs, {**batch.targets, "size": torch.full_like(batch.targets["size"], math.nan)})
    objective.training_loss(unknown)["loss"].backward()  # type: ignore[no-untyped-call]
    _, silent = objective.each_head()
    assert all(one.grad is None or not one.grad.any() for one in silent.parameters())
    found = [one.grad.clone() for one in objective.backbone.parameters() if one.grad is not None]
    objective.zero_grad()
    objective.batch_losses(batch)[0].backward()  # type: ignore[no-untyped-call]
    alone = [one.grad for one in objective.backbone.parameters() if one.grad is not None]
    assert all(torch.allclose(mine, theirs, rtol=1e-4, atol=1e-7) for mine, theirs in zip(found, alone, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_heads_on_kept_features_train_under_every_balancing(kind: str) -> None:
    probe = {"kind": "linear_probe", "solver": "gradient", "layer": "last"}
    run = together({"kind": kind}, strategy=probe, backbone={"kind": "mlp", "hidden": [8]})
    measured = run.evaluate("train")
    assert measured is not None
    assert measured.heads["label"]["accuracy"] > 0.6
    assert run.tasks() == {}, "heads that share nothing neither help nor hurt"


def test_weights_are_told_where_they_move(tmp_path: Path) -> None:
    run = together({"kind": "gradnorm"}, train=False)
    told = [event.losses for event in run.train() if hasattr(event, "losses")]
    assert {"label/weight", "size/weight"} <= told[-1].keys()
    assert told[0]["label/weight"].item() == 1
    assert told[-1]["label/weight"].item() != 1
    run.state.save(tmp_path / "state.safetensors")
    again = together({"kind": "gradnorm"}, train=False)
    again.state.load(tmp_path / "state.safetensors")
    objective = again.state.objective
    assert isinstance(objective, FineTuning)
    assert isinstance(objective.balance, NormedGradients)
    assert torch.equal(objective.balance.weights, run.state.objective.balance.weights)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("heads", "balancing", "loc", "words"),
    [
        ([LABEL], {"kind": "pcgrad"}, ("balancing",), "one head"),
        ([LABEL], {"kind": "fixed", "weights": {"label": 2}}, ("balancing",), "one head"),
        ([LABEL, SIZE], {"kind": "fixed", "weights": {"sise": 2}}, ("balancing", "weights", "sise"), "'label', 'size'"),
        ([LABEL, {**SIZE, "loss": "gaussian"}], {"kind": "uncertainty"}, ("balancing", "kind"), "below 0"),
        ([LABEL, {**SIZE, "loss": "gaussian"}], {"kind": "gradnorm"}, ("balancing", "kind"), "below 0"),
    ],
)
def test_what_cannot_be_balanced_is_refused_in_words(
    heads: list[dict[str, Any]], balancing: dict[str, Any], loc: tuple[str, ...], words: str
) -> None:
    config = FineTuningConfig.model_validate({"heads": heads, "balancing": balancing})
    with pytest.raises(ConfigError, match=words) as caught:
        resolve_fine_tuning(config, tiny.table().spec, None)
    assert caught.value.loc == loc


@pytest.mark.parametrize("far", [False, True], ids=["a hundredth of its loss", "a thousandth of the weights"])
def test_looking_ahead_is_what_it_says_and_leaves_no_trace(far: bool) -> None:
    random = torch.Generator().manual_seed(0)
    shared = nn.Parameter(torch.randn(6, generator=random))
    goals = torch.randn(3, 6, generator=random) * (100 if far else 0.1) + (0 if far else shared.detach())
    before = shared.detach().clone()
    affinity = Affinity(3)
    affinity.measure(lambda: (shared - goals).square().sum(1), torch.tensor([True, True, False]), [shared])
    assert torch.equal(shared.detach(), before)
    slope = 2 * (before - goals[0])
    length = 1e-3 * before.norm() if far else 1e-2 * (before - goals[0]).square().sum() / slope.norm()
    stepped = before - length * slope / slope.norm()
    gain = 1 - (stepped - goals[1]).square().sum() / (before - goals[1]).square().sum()
    found = affinity.as_json(["a", "b", "c"])
    assert found["lookahead"]["b"]["a"] == pytest.approx(gain.item(), abs=1e-6)
    assert found["lookahead"]["a"]["a"] > 0, "a step for itself helps"
    cosine = torch.cosine_similarity(before - goals[0], before - goals[1], dim=0)
    assert found["cosine"]["a"]["b"] == found["cosine"]["b"]["a"] == pytest.approx(cosine.item(), abs=1e-5)
    assert found["lookahead"]["c"]["a"] is None, "the batch had no target of it"
    assert found["measured"] == 1


def test_a_training_tells_which_head_helps_which() -> None:
    found = together({"kind": "fixed"}).tasks()["tasks"]
    assert found["measured"] == 3, "every other epoch of six"
    assert found["cosine"]["label"]["label"] == pytest.approx(1)
    assert found["lookahead"]["size"]["size"] > 0
    assert set(found["lookahead"]["label"]) == {"label", "size"}
    assert run_of(tiny.table(), {"heads": [LABEL], "strategy": {"kind": "full"}}, train=False).tasks() == {}
