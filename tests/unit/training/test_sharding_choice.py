"""Whether several devices shard weights: as it is asked for, or where they would not fit on one."""

import pytest
from pydantic import ValidationError

from app.jobs.interface import Resources
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.distributed.sharding_choice import choose_sharding, settle_sharding, state_bytes
from worker.training.run import Run, prepare

MLP = {"kind": "mlp", "hidden": [16, 8]}


def autoencoder(**training: object) -> Run:
    request = {"backbone": MLP, "method": {"kind": "autoencoder"}, "training": {"steps": 3, **training}}
    data = tiny.images()
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


@pytest.mark.parametrize(
    ("optimizer", "values"),
    [({"kind": "adamw"}, 4), ({"kind": "adam"}, 4), ({"kind": "sgd"}, 3), ({"kind": "sgd", "momentum": 0}, 2)],
)
def test_weights_gradients_and_moments_are_what_a_step_holds(optimizer: dict[str, object], values: int) -> None:
    run = autoencoder(optimizer=optimizer)
    list(run.train())
    weights = list(run.state.objective.parameters())
    held = [*weights, *(weight.grad for weight in weights if weight.grad is not None)]
    held += [value for state in run.state.optimizer.state.values() for value in state.values() if value.ndim > 0]
    assert state_bytes(run) == sum(tensor.nbytes for tensor in held)
    assert state_bytes(run) == values * sum(weight.nbytes for weight in weights)


def test_more_than_half_of_a_gpu_is_sharded() -> None:
    assert choose_sharding(50, 100).value == "replicate"
    large = choose_sharding(51_000_000_000, 100_000_000_000)
    assert (large.field, large.value) == ("resources.sharding", "shard")
    assert "51.00 of a GPU's 100.00 GB; more than half" in large.reason
    assert choose_sharding(10**15, None).value == "replicate"


def test_what_was_left_open_is_said_and_what_was_asked_for_is_done() -> None:
    run = autoencoder()
    note = settle_sharding(run, "auto", 2)
    assert note is not None
    assert note.data == {
        "field": "resources.sharding",
        "value": "replicate",
        "reason": "on a CPU the processes of a machine share its memory",
        "option": None,
    }
    assert not run.state.sharded
    assert settle_sharding(run, "shard", 2) is None
    assert run.state.sharded
    assert settle_sharding(run, "replicate", 2) is None
    assert not run.state.sharded
    assert settle_sharding(run, "auto", 1) is None


def test_what_takes_no_steps_is_not_sharded() -> None:
    request = {
        "backbone": MLP,
        "heads": [{"kind": "classifier", "target": "label"}],
        "strategy": {"kind": "linear_probe"},
    }
    data = tiny.images()
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    assert run.plan.solves
    assert settle_sharding(run, "shard", 2) is None
    assert not run.state.sharded


def test_one_device_has_nothing_to_shard() -> None:
    with pytest.raises(ValidationError, match="ask for devices 2 or more, or leave sharding at auto"):
        Resources(sharding="shard")
    assert Resources(sharding="shard", devices=2).sharding == "shard"
    assert Resources(sharding="shard", nodes=2).sharding == "shard"
    assert Resources.model_validate({"device": "cpu", "devices": 2}).sharding == "auto"
