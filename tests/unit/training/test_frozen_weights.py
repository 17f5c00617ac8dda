"""Checkpoints hold what trains: frozen weights come from the pretrained model, and a run resumes bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data import tensor_file
from app.ml.errors import CorruptCheckpointError
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.events import StepDone
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run

DATA = tiny.table()
STEP = 5


@pytest.fixture(scope="module")
def parent() -> Bundle:
    return pretrained(seed=0)


def pretrained(seed: int) -> Bundle:
    request = {"backbone": {"kind": "mlp", "hidden": [32, 16]}, "training": {"epochs": 1, "seed": seed}}
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), DATA.spec).config, DATA).bundle()


def fine_tuning(parent: Bundle, strategy: dict[str, Any], **training: Any) -> Run:
    request = {
        "heads": [{"kind": "classifier", "target": "label"}],
        "strategy": strategy,
        "training": {"epochs": 4, "batch_size": 8, **training},
    }
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), DATA.spec, parent.manifest).config
    return prepare(config, DATA, parent=parent)


def train(run: Run, save_to: Path | None = None) -> list[float]:
    """The losses of all steps; at STEP the state is saved."""
    losses = []
    for event in run.train():
        if isinstance(event, StepDone):
            losses.append(float(event.losses["loss"]))
            if save_to is not None and event.step == STEP:
                run.state.save(save_to)
    return losses


FROZEN = [
    {"kind": "linear_probe", "solver": "gradient"},
    {"kind": "bias_only"},
    {"kind": "lora"},
]


@pytest.mark.parametrize("strategy", FROZEN, ids=lambda strategy: strategy["kind"])
@pytest.mark.parametrize("training", [{}, {"early_stopping": {"patience": 3}}], ids=["plain", "early_stopping"])
def test_a_frozen_backbone_is_not_in_a_checkpoint_and_a_resumed_run_is_the_same(
    parent: Bundle, tmp_path: Path, strategy: dict[str, Any], training: dict[str, Any]
) -> None:
    undisturbed = fine_tuning(parent, strategy, **training)
    losses = train(undisturbed, tmp_path / "state")
    saved, manifest = tensor_file.read(tmp_path / "state")
    trained = {id(values) for group in undisturbed.state.optimizer.param_groups for values in group["params"]}
    frozen = {name for name, values in undisturbed.state.objective.named_parameters() if id(values) not in trained}
    assert any(undisturbed.state.objective.state_dict()[name].numel() > 100 for name in frozen)
    assert not {f"{part}/{name}" for name in frozen for part in ("objective", "best")} & set(saved)
    assert manifest["frozen"]

    resumed = fine_tuning(parent, strategy, **training)
    resumed.state.load(tmp_path / "state")
    assert train(resumed) == losses[STEP:]
    expected = undisturbed.state.objective.state_dict()
    actual = resumed.state.objective.state_dict()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_all_that_trains_later_is_in_a_checkpoint(parent: Bundle, tmp_path: Path) -> None:
    for strategy in ({"kind": "full"}, {"kind": "gradual_unfreezing"}, {"kind": "lp_ft"}):
        run = fine_tuning(parent, strategy)
        run.state.save(tmp_path / "state")
        saved, manifest = tensor_file.read(tmp_path / "state")
        assert {f"objective/{name}" for name in run.state.objective.state_dict()} <= set(saved)
        assert "frozen" not in manifest


def test_weights_that_were_drawn_are_in_a_checkpoint(tmp_path: Path) -> None:
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": FROZEN[0]}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), DATA.spec, None).config
    run = prepare(config, DATA)
    run.state.save(tmp_path / "state")
    saved, _ = tensor_file.read(tmp_path / "state")
    assert {f"objective/{name}" for name in run.state.objective.state_dict()} <= set(saved)


def test_a_checkpoint_beside_other_frozen_weights_is_refused(parent: Bundle, tmp_path: Path) -> None:
    train(fine_tuning(parent, FROZEN[0]), tmp_path / "state")
    other = fine_tuning(pretrained(seed=1), FROZEN[0])
    with pytest.raises(CorruptCheckpointError, match="frozen weights are not those"):
        other.state.load(tmp_path / "state")
    assert other.state.progress.step == 0


def test_a_checkpoint_of_an_earlier_release_holds_them_and_loads(parent: Bundle, tmp_path: Path) -> None:
    run = fine_tuning(parent, FROZEN[0])
    losses = train(run, tmp_path / "state")
    tensors, manifest = tensor_file.read(tmp_path / "state")
    state = run.state.objective.state_dict()
    tensors |= {f"objective/{name}": state[name] for name in run.state.frozen}
    del manifest["frozen"]
    tensor_file.write_atomically(tmp_path / "state", tensor_file.to_bytes(tensors, manifest))
    resumed = fine_tuning(parent, FROZEN[0])
    resumed.state.load(tmp_path / "state")
    assert train(resumed) == losses[STEP:]
