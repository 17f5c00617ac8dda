"""Two ranks follow the curve of one process."""

import contextlib
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.tensor import DTensor

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data import tensor_file
from app.ml.data.arrays import ArrayData
from app.ml.kinds.methods.kmeans import KMeansObjective
from app.ml.models.bundle import read_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.distributed.collectives import Ranks
from worker.distributed.leader import distributed
from worker.training.events import StepDone
from worker.training.model_selection import automatic as model_selection
from worker.training.run import Run, prepare

TRAINING: dict[str, Any] = {"steps": 30, "optimizer": {"kind": "sgd", "lr": 0.01}, "clip_grad_norm": 1.0}
MLP, ADAMW = {"kind": "mlp", "hidden": [16, 8]}, {"kind": "adamw", "lr": 0.01}

Build = Callable[[ArrayData, int], Run]


def written(data: ArrayData, folder: Path) -> ArrayData:
    """The dataset as its files, where the other ranks find it."""
    folder.mkdir(parents=True)
    np.save(folder / "inputs.npy", np.asarray(data.inputs))
    np.save(folder / "targets.npy", data.targets)
    np.save(folder / "split.npy", data.split)
    (folder / "manifest.json").write_text(json.dumps({"spec": data.spec.model_dump(mode="json")}))
    return ArrayData.open(folder)


def autoencoder(data: ArrayData, batch_size: int) -> Run:
    request = {"backbone": MLP, "method": {"kind": "autoencoder"}, "training": {**TRAINING, "batch_size": batch_size}}
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


def classifier(data: ArrayData, batch_size: int) -> Run:
    request = {
        "heads": [{"kind": "classifier", "target": "label"}],
        "backbone": MLP,
        "strategy": {"kind": "full"},
        "training": {**TRAINING, "batch_size": batch_size},
    }
    return prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)


def variational(data: ArrayData, batch_size: int, dropout: float = 0.0) -> Run:
    training = {**TRAINING, "optimizer": {"kind": "adamw", "lr": 0.01}, "batch_size": batch_size}
    request = {"backbone": {**MLP, "dropout": dropout}, "method": {"kind": "vae"}, "training": training}
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


def scaled(data: ArrayData, optimizer: Any = ADAMW) -> Run:
    """A variational autoencoder whose noise has one learned size: a scalar, which no rank can cut."""
    training = {**TRAINING, "optimizer": optimizer, "batch_size": 11, "precision": "float32"}
    method = {"kind": "vae", "likelihood": "gaussian"}
    request = {"backbone": MLP, "method": method, "training": training}
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    assert any(values.ndim == 0 for values in run.state.objective.parameters())
    return run


def biases(data: ArrayData, parent: Path) -> Run:
    """Fine-tuning of the biases of a pretrained network; its matrices are frozen."""
    parent.mkdir()
    autoencoder(data, 11).save_bundle(parent)
    bundle = read_bundle(parent, for_training=True)
    request = {
        "heads": [{"kind": "classifier", "target": "label"}],
        "strategy": {"kind": "bias_only"},
        "training": {**TRAINING, "batch_size": 11},
    }
    config = FineTuningConfig.model_validate(request)
    run = prepare(resolve_fine_tuning(config, data.spec, bundle.manifest).config, data, parent=bundle)
    assert run.state.frozen
    return run


def centroids(data: ArrayData) -> Run:
    """Centroids that are taken for dead at the first step, but for those that have patches there."""
    training = {**TRAINING, "optimizer": {"kind": "sgd", "lr": 1e-3}, "batch_size": 11, "precision": "float32"}
    request = {
        "backbone": {"kind": "kmeans_patches", "centroids": 16},
        "method": {"kind": "kmeans"},
        "training": training,
    }
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    objective = run.state.objective
    assert isinstance(objective, KMeansObjective)
    objective.idle.fill_(10**9)
    return run


def losses(run: Run, steps: int = 30) -> list[float]:
    values = (event.losses["loss"].item() for event in run.train() if isinstance(event, StepDone))
    return list(islice(values, steps))


def weights(run: Run) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in run.state.objective.parameters()])


@pytest.mark.parametrize(
    ("build", "batch_size"),
    [
        (autoencoder, 11),  # of 36 rows: uneven shares, and a last batch of 3
        pytest.param(autoencoder, 35, marks=pytest.mark.slow),  # a last batch of one row, for two ranks
        pytest.param(classifier, 11, marks=pytest.mark.slow),
        pytest.param(classifier, 35, marks=pytest.mark.slow),
    ],
)
def test_two_ranks_follow_one_process(tmp_path: Path, build: Build, batch_size: int) -> None:
    data = written(tiny.images(), tmp_path / "data")
    assert data.spec.rows["train"] == 36
    alone, shared = build(data, batch_size), build(data, batch_size)
    expected = losses(alone)
    with distributed(shared, 2, tmp_path):
        actual = losses(shared)
    alike(actual, expected)
    torch.testing.assert_close(weights(shared), weights(alone), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    data = written(tiny.images(), tmp_path / "data")
    expected = losses(autoencoder(data, 11))
    actual, file = [], tmp_path / "state.safetensors"
    for step, ranks in ((0, 1), (10, 3), (20, 2)):
        run = autoencoder(data, 11)
        if step:
            run.state.load(file)
        with distributed(run, ranks, tmp_path):
            actual += losses(run, 10)
        run.state.save(file)
    alike(actual, expected)


@pytest.mark.slow
def test_ranks_take_up_what_the_leader_went_back_to(tmp_path: Path) -> None:
    data = written(tiny.images(), tmp_path / "data")
    run, file = autoencoder(data, 11), tmp_path / "state.safetensors"
    run.state.save(file)
    with distributed(run, 2, tmp_path):
        first = losses(run)
    run.state.load(file)
    with distributed(run, 2, tmp_path):
        alike(losses(run), first)


@pytest.mark.slow
def test_a_row_has_the_same_noise_on_any_number_of_ranks(tmp_path: Path) -> None:
    data = written(tiny.images(), tmp_path / "data")
    expected = losses(variational(data, 11))
    run = variational(data, 11)
    with distributed(run, 2, tmp_path):
        actual = losses(run)
    alike(actual, expected)


@pytest.mark.slow
def test_ranks_drop_out_by_themselves_and_learn_as_well(tmp_path: Path) -> None:
    data = written(tiny.images(), tmp_path / "data")
    expected = losses(variational(data, 12, dropout=0.1))
    run = variational(data, 12, dropout=0.1)
    with distributed(run, 2, tmp_path):
        actual = losses(run)
    assert actual != expected
    assert actual[-1] < 0.9 * actual[0]
    np.testing.assert_allclose(np.mean(actual[-6:]), np.mean(expected[-6:]), rtol=0.1)


@pytest.mark.slow
def test_what_was_selected_is_trained_on_several_devices(tmp_path: Path) -> None:
    """The candidates are measured by the leader alone; the ranks go on with its choice."""
    data = written(tiny.images(), tmp_path / "data")

    def automatic() -> Run:
        request = {
            "heads": [{"kind": "classifier", "target": "label"}],
            "strategy": {"kind": "automatic", "candidates": ["scratch"], "budget_seconds": 1.0},
            "training": {**TRAINING, "batch_size": 11},
        }
        config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config
        return model_selection.prepare(config, data)

    expected, run = losses(automatic()), automatic()
    assert run.selected is not None
    assert not run.plan.solves
    with distributed(run, 2, tmp_path):
        actual = losses(run)
    np.testing.assert_allclose(actual, expected, rtol=1e-2)


def test_pieces_of_a_batch_are_shared_one_by_one(tmp_path: Path) -> None:
    """A training that was cut into pieces, for want of memory, goes on so on several devices."""
    data = written(tiny.images(), tmp_path / "data")
    alone, shared = autoencoder(data, 11), autoencoder(data, 11)
    alone.state.progress.pieces = shared.state.progress.pieces = 3
    expected = losses(alone)
    with distributed(shared, 2, tmp_path):
        alike(losses(shared), expected)
    torch.testing.assert_close(weights(shared), weights(alone), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pieces", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_two_sharded_ranks_follow_one_process(tmp_path: Path, pieces: int) -> None:
    """Momentum, clipping and a scalar parameter among what is sharded, be the batch cut into pieces or not."""
    data = written(tiny.images(), tmp_path / "data")
    alone = scaled(data, TRAINING["optimizer"])
    alone.state.progress.pieces = pieces
    expected = losses(alone)
    alone.state.save(tmp_path / "alone.safetensors")
    sharded = scaled(data, TRAINING["optimizer"])
    sharded.state.progress.pieces, sharded.state.sharded = pieces, True
    with distributed(sharded, 2, tmp_path):
        alike(losses(sharded), expected)
        assert sharded.state.gradient_norm() == pytest.approx(alone.state.gradient_norm(), rel=1e-3)
        sharded.state.save(tmp_path / "inside.safetensors")
    sharded.state.save(tmp_path / "after.safetensors")
    inside, after, one = (
        tensor_file.read(tmp_path / f"{name}.safetensors")[0] for name in ("inside", "after", "alone")
    )
    assert inside.keys() == after.keys() == one.keys()
    for name, values in one.items():
        torch.testing.assert_close(inside[name], values, rtol=1e-4, atol=1e-4, msg=name)
        torch.testing.assert_close(after[name], inside[name], rtol=0, atol=0)


@pytest.mark.slow
def test_a_sharded_checkpoint_goes_on_with_any_number_of_ranks(tmp_path: Path) -> None:
    data = written(tiny.images(), tmp_path / "data")
    expected = losses(scaled(data))
    first, file = scaled(data), tmp_path / "state.safetensors"
    first.state.sharded = True
    with distributed(first, 2, tmp_path):
        begun = losses(first, 10)
        first.state.save(file)
    for ranks, sharded in ((1, False), (2, False), (3, True)):
        run = scaled(data)
        run.state.sharded = sharded
        run.state.load(file)
        with distributed(run, ranks, tmp_path):
            alike(begun + losses(run, 20), expected)


@pytest.mark.slow
def test_sharded_ranks_take_up_what_the_leader_went_back_to(tmp_path: Path) -> None:
    """Also the frozen weights, which no checkpoint holds."""
    data = written(tiny.images(), tmp_path / "data")
    run, file = biases(data, tmp_path / "parent"), tmp_path / "state.safetensors"
    run.state.sharded = True
    run.state.save(file)
    expected = weights(run)
    first: list[float] = []
    with contextlib.suppress(ZeroDivisionError), distributed(run, 2, tmp_path):
        first = losses(run)
        raise ZeroDivisionError  # as a divergence does: the parts are lost
    run.state.load(file)
    torch.testing.assert_close(weights(run), expected, rtol=0, atol=0)
    with distributed(run, 2, tmp_path):
        alike(losses(run), first)


def test_each_rank_holds_its_share(tmp_path: Path) -> None:
    """Of weights and moments, measured in the leader while the objective's own weights are gone."""
    data = written(tiny.images(), tmp_path / "data")
    run = scaled(data)
    run.state.sharded = True
    gathered: list[bool] = []
    whole = 4 * sum(values.numel() for values in run.state.objective.parameters())
    with distributed(run, 2, tmp_path):
        losses(run, 1)
        ranks = run.state.ranks
        assert isinstance(ranks, Ranks)
        assert ranks.sharded is not None
        first, *_, last = ranks.sharded.objective.backbone.units()
        last.register_forward_pre_hook(lambda *_: gathered.append(any(map(is_whole, first.parameters()))))
        last.register_forward_pre_hook(lambda *_: gathered.append(all(map(is_whole, last.parameters()))))
        losses(run, 1)
        assert gathered == [False, True], "each unit is gathered for its own pass"
        own = [values for group in run.state.optimizer.param_groups for values in group["params"]]
        moments = [value for values in own for value in run.state.optimizer.state[values].values() if value.ndim > 0]
        assert sum(values.numel() for values in run.state.objective.parameters()) == 0
        held = sum(values.untyped_storage().nbytes() for values in (*own, *moments))
        assert held == pytest.approx(3 * whole / 2, rel=0.1)


@pytest.mark.slow
def test_dead_centroids_move_when_sharded(tmp_path: Path) -> None:
    """What a loss writes into the weights is kept in every rank's part."""
    data = written(tiny.images(), tmp_path / "data")
    alone = centroids(data)
    before = weights(alone).clone()
    expected = losses(alone, 3)
    sharded = centroids(data)
    sharded.state.sharded = True
    with distributed(sharded, 2, tmp_path):
        np.testing.assert_allclose(losses(sharded, 3), expected, rtol=1e-4)
    torch.testing.assert_close(weights(sharded), weights(alone), rtol=1e-4, atol=1e-4)
    assert (weights(alone) - before).abs().max() > 0.1, "they jump"


def is_whole(parameter: torch.Tensor) -> bool:
    return not isinstance(parameter, DTensor)


def alike(actual: list[float], expected: list[float]) -> None:
    assert len(actual) == len(expected) == 30
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(actual, expected, rtol=1e-3)  # sums in another order move a ReLU's kink now and then
