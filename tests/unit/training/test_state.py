"""Checkpoints move between devices, and an optimizer state with holes is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.data import tensor_file
from app.ml.data.tensor_file import Tensors
from app.ml.errors import CorruptCheckpointError
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run


def pretraining(optimizer: str = "adamw") -> Run:
    data = tiny.images()
    training = {"epochs": 1, "optimizer": {"kind": optimizer}}
    request: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [8]}, "training": training}
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    run = pretraining()
    list(run.train())
    run.state.save(tmp_path / "state")
    return tmp_path / "state"


def change(path: Path, how: Callable[[Tensors], object]) -> None:
    tensors, manifest = tensor_file.read(path)
    how(tensors)
    tensor_file.write_atomically(path, tensor_file.to_bytes(tensors, manifest))


def test_a_checkpoint_of_a_gpu_loads_without_one(saved: Path) -> None:
    change(saved, lambda tensors: tensors.update({"random/cuda": torch.zeros(16, dtype=torch.uint8)}))
    torch.manual_seed(4)
    run = pretraining()
    torch.manual_seed(5)
    run.state.load(saved)
    assert torch.equal(torch.get_rng_state(), tensor_file.read(saved)[0]["random/cpu"])


def test_a_checkpoint_without_a_gpu_loads_on_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current, loaded = torch.ones(16, dtype=torch.uint8), []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _device: current)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda value, _device: loaded.append(value))
    run = pretraining()
    run.state.device = torch.device("cuda")
    run.state.load(saved)
    assert loaded == []
    change(saved, lambda tensors: tensors.update({"random/cuda": torch.full((16,), 7, dtype=torch.uint8)}))
    run.state.load(saved)
    assert [value.tolist() for value in loaded] == [[7] * 16]
    change(saved, lambda tensors: tensors.update({"random/cuda": torch.zeros(9, dtype=torch.uint8)}))
    with pytest.raises(CorruptCheckpointError, match="cuda"):
        run.state.load(saved)


def test_the_cpus_generator_is_always_needed(saved: Path) -> None:
    change(saved, lambda tensors: tensors.pop("random/cpu"))
    with pytest.raises(CorruptCheckpointError, match="lacks cpu"):
        pretraining().state.load(saved)


@pytest.mark.parametrize("missing", [("1.exp_avg",), ("0.step",), ("2.exp_avg", "2.exp_avg_sq", "2.step")])
def test_moments_that_others_have_are_needed(saved: Path, missing: tuple[str, ...]) -> None:
    change(saved, lambda tensors: [tensors.pop(f"optimizer/{name}") for name in missing])
    run = pretraining()
    with pytest.raises(CorruptCheckpointError, match=f"lacks optimizer state {re.escape(missing[0])}"):
        run.state.load(saved)
    assert run.state.progress.step == 0


def test_a_step_count_is_one_number(saved: Path) -> None:
    change(saved, lambda tensors: tensors.update({"optimizer/0.step": torch.zeros(2)}))
    with pytest.raises(CorruptCheckpointError, match=r"optimizer state 0\.step fits no parameter"):
        pretraining().state.load(saved)
