"""SimCLR and VICReg against their formulas written out as loops, and what holds of both."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.configs.learning import PretrainingConfig
from app.ml.data.chunks import each_block
from app.ml.errors import ConfigError
from app.ml.interfaces import Batch, Encoding, MethodConfig, ResolutionContext
from app.ml.kinds.augmentations.noise import Noise
from app.ml.kinds.augmentations.swap import Swap
from app.ml.kinds.backbones.mlp import ResolvedMlp
from app.ml.kinds.methods.simclr import SimClr, partners_of, similarities
from app.ml.kinds.methods.vicreg import ResolvedVicReg, VicReg, covariance_loss, variance_loss
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.events import StepDone
from worker.training.run import prepare

METHODS = [SimClr(), ResolvedVicReg(projection=16)]
EACH = pytest.mark.parametrize("method", METHODS, ids=["simclr", "vicreg"])


def naive_nt_xent(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """Equation 1 and algorithm 1 of the paper, where views 2k - 1 and 2k belong together."""
    views = [view for pair in zip(first, second, strict=True) for view in pair]

    def alike(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / math.sqrt(one @ one) / math.sqrt(other @ other))

    def term(i: int, j: int) -> float:
        others = sum(math.exp(alike(views[i], views[k]) / temperature) for k in range(len(views)) if k != i)
        return -math.log(math.exp(alike(views[i], views[j]) / temperature) / others)

    pairs = range(0, len(views), 2)
    return sum(term(k, k + 1) + term(k + 1, k) for k in pairs) / len(views)


def naive_vicreg(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Equations 1 to 5 of the paper, the invariance averaged over dimensions as in its algorithm 1."""
    rows, dimensions = first.shape
    invariance = sum(float((a - b) ** 2) for a, b in zip(first.flat, second.flat, strict=True)) / rows / dimensions

    def variance(values: np.ndarray) -> float:
        deviations = [math.sqrt(np.var(values[:, j], ddof=1) + 1e-4) for j in range(dimensions)]
        return sum(max(0.0, 1 - one) for one in deviations) / dimensions

    def covariance(values: np.ndarray) -> float:
        matrix = np.cov(values.T)
        off = [matrix[i, j] ** 2 for i in range(dimensions) for j in range(dimensions) if i != j]
        return float(sum(off)) / dimensions

    return invariance, variance(first) + variance(second), covariance(first) + covariance(second)


def projections(rows: int = 7, dimensions: int = 5) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    first = torch.randn(rows, dimensions, generator=random)
    return first, 0.7 * first + 0.4 * torch.randn(rows, dimensions, generator=random)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_nt_xent_is_that_of_the_paper(temperature: float) -> None:
    first, second = projections()
    logits = similarities(torch.cat([first, second]), temperature)
    loss = F.cross_entropy(logits, partners_of(7, first.device)).item()
    wanted = naive_nt_xent(first.double().numpy(), second.double().numpy(), temperature)
    assert loss == pytest.approx(wanted, rel=1e-5)


def test_vicreg_is_that_of_the_paper() -> None:
    first, second = (0.5 * one for one in projections())  # deviations on both sides of the hinge
    second = second * torch.tensor([1.0, 3.0, 1.0, 4.0, 1.0])
    invariance, variance, covariance = naive_vicreg(first.double().numpy(), second.double().numpy())
    assert F.mse_loss(first, second).item() == pytest.approx(invariance, rel=1e-5)
    assert (variance_loss(first) + variance_loss(second)).item() == pytest.approx(variance, rel=1e-5)
    assert (covariance_loss(first) + covariance_loss(second)).item() == pytest.approx(covariance, rel=1e-5)


def test_the_weights_of_vicreg_count() -> None:
    method = ResolvedVicReg(invariance=2, variance=3, covariance=5, projection=8)
    torch.manual_seed(0)
    objective = method.build(ResolvedMlp(hidden=(6,)).build(Encoding(shape=(4,))))
    objective.augmentations = (Noise(),)
    losses = objective.loss(Batch(torch.randn(9, 4)))
    wanted = 2 * losses["invariance"] + 3 * losses["variance"] + 5 * losses["covariance"]
    assert torch.allclose(losses["loss"], wanted)


@EACH
def test_a_loss_sees_two_views_that_differ(method: MethodConfig) -> None:
    """Without augmentations both views are one: the loss is then as low as it can be for these weights."""
    torch.manual_seed(0)
    objective = method.build(ResolvedMlp(hidden=(16,)).build(Encoding(shape=(6,))))
    batch = Batch(torch.randn(20, 6))
    alike = objective.loss(batch)
    objective.augmentations = (Noise(strength=2),)
    apart = objective.loss(batch)
    if "invariance" in alike:
        assert alike["invariance"] == 0
        assert apart["invariance"] > 0
    else:
        assert alike["accuracy"] == 1
        assert apart["accuracy"] < 1


@EACH
def test_a_row_alone_costs_nothing_but_agreement(method: MethodConfig) -> None:
    torch.manual_seed(0)
    objective = method.build(ResolvedMlp(hidden=(16,)).build(Encoding(shape=(6,))))
    objective.augmentations = (Noise(),)
    losses = objective.loss(Batch(torch.randn(1, 6)))
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    assert losses["loss"].isfinite()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in objective.parameters())
    if "invariance" in losses:
        assert torch.allclose(losses["loss"], 25 * losses["invariance"])
    else:
        assert losses["loss"] == 0


@EACH
def test_views_in_half_precision_are_compared_in_full(method: MethodConfig) -> None:
    torch.manual_seed(0)
    objective = method.build(ResolvedMlp(hidden=(16,)).build(Encoding(shape=(6,))))
    objective.augmentations = (Noise(),)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = objective.loss(Batch(torch.randn(20, 6)))
    assert losses["loss"].dtype == torch.float32


@EACH
@pytest.mark.parametrize("modality", ["image", "table", "series"])
def test_views_are_chosen_where_none_are_named(method: MethodConfig, modality: str) -> None:
    data = tiny.DATASETS[modality]()  # type: ignore[index]
    config = PretrainingConfig.model_validate({"method": {"kind": method.kind}})
    resolved = resolve_pretraining(config, data.spec)
    assert resolved.config.augmentations
    assert [one for one in resolved.decisions if one.field == "augmentations"]
    empty = config.model_copy(update={"augmentations": ()})
    with pytest.raises(ConfigError, match=r"augmentations: .* compares views"):
        resolve_pretraining(empty, data.spec)
    given = config.model_copy(update={"augmentations": (Swap(),)})
    if modality != "table":
        with pytest.raises(ConfigError, match=r"augmentations.0.kind: swap changes table data"):
            resolve_pretraining(given, data.spec)


def test_only_colour_images_are_mirrored() -> None:
    kinds = {
        channels: {one.kind for one in SimClr().default_views(ResolutionContext("image", (32, 32, channels), 100))}
        for channels in (1, 3)
    }
    assert "flip" not in kinds[1]
    assert {"flip", "colour"} <= kinds[3]


@pytest.mark.parametrize(("rows", "dimensions"), [(8, 16), (100, 64), (60_000, 512)])
def test_vicreg_has_no_more_dimensions_than_rows_can_keep_apart(rows: int, dimensions: int) -> None:
    resolved, (decision,) = VicReg().resolve(ResolutionContext("table", (4,), rows))
    assert resolved.projection == dimensions == decision.value


@pytest.mark.parametrize("kind", ["simclr", "vicreg"])
def test_a_row_that_is_left_over_joins_the_batch_before(kind: str) -> None:
    data = tiny.images(48)
    assert data.spec.rows["train"] == 36
    method, backbone = {"kind": kind, "hidden": 8, "projection": 4}, {"kind": "mlp", "hidden": [8]}
    training = {"epochs": 2, "batch_size": 7}
    config = PretrainingConfig.model_validate({"method": method, "backbone": backbone, "training": training})
    run = prepare(resolve_pretraining(config, data.spec).config, data)
    assert (run.plan.steps_per_epoch, run.plan.total_steps) == (5, 10)
    sizes = []
    loss = run.state.objective.loss

    def counted(batch: Batch) -> dict[str, Tensor]:
        sizes.append(len(batch))
        return loss(batch)

    run.state.objective.loss = counted  # type: ignore[method-assign]
    steps = [event for event in run.train() if isinstance(event, StepDone)]
    assert len(steps) == 10
    assert sizes.count(8) == 2
    assert 1 not in sizes


def test_blocks_leave_no_row_alone_where_rows_are_compared() -> None:
    assert [(block.start, block.stop) for block in each_block(9, 4, least=2)] == [(0, 4), (4, 9)]
    assert [(block.start, block.stop) for block in each_block(9, 4)] == [(0, 4), (4, 8), (8, 9)]
    assert [(block.start, block.stop) for block in each_block(1, 4, least=2)] == [(0, 1)]
    assert list(each_block(0, 4, least=2)) == []


@pytest.mark.parametrize("kind", ["simclr", "vicreg"])
def test_batches_of_one_row_are_refused(kind: str) -> None:
    spec = tiny.images().spec
    config = PretrainingConfig.model_validate({"method": {"kind": kind}, "training": {"batch_size": 1}})
    with pytest.raises(ConfigError, match=r"training.batch_size.*compares the rows of a batch"):
        resolve_pretraining(config, spec)
    lone = spec.model_copy(update={"rows": {**spec.rows, "train": 1}})
    with pytest.raises(ConfigError, match="1 train row"):
        resolve_pretraining(PretrainingConfig.model_validate({"method": {"kind": kind}}), lone)
