"""Two ranks follow the curve of one process."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.distributed.leader import distributed
from worker.training.events import StepDone
from worker.training.model_selection import automatic as model_selection
from worker.training.run import Run, prepare

TRAINING = {"steps": 30, "optimizer": {"kind": "sgd", "lr": 0.01}, "clip_grad_norm": 1.0}
MLP = {"kind": "mlp", "hidden": [16, 8]}

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


def alike(actual: list[float], expected: list[float]) -> None:
    assert len(actual) == len(expected) == 30
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(actual, expected, rtol=1e-3)  # sums in another order move a ReLU's kink now and then
