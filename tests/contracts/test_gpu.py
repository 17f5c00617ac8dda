"""The same trainings on a CUDA device: near the CPU's losses, resumable, and saved as models that a CPU loads."""

from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.models.predictor import load_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.events import StepDone
from worker.training.run import Run, prepare

TRAINING = {"steps": 20, "batch_size": 8, "optimizer": {"kind": "adamw", "lr": 0.003}}
HEADS = [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}]
NEXT = {"method": {"kind": "next_token"}}
# Of images, and of other data where a request says so.
REQUESTS: list[dict[str, Any]] = [
    {"backbone": {"kind": "mlp"}, "method": {"kind": "autoencoder", "regularizer": {"kind": "l2"}}},
    {"backbone": {"kind": "convnet"}, "method": {"kind": "autoencoder"}},
    {"backbone": {"kind": "convnet"}, "heads": HEADS, "strategy": {"kind": "full"}},
    {"backbone": {"kind": "convnet"}, "heads": HEADS, "strategy": {"kind": "linear_probe"}},
    {
        "data": "table",
        "backbone": {"kind": "tabular_resnet", "dropout": 0.0},
        "heads": HEADS,
        "strategy": {"kind": "full"},
    },
    {"data": "series", "backbone": {"kind": "tcn", "width": 16}, "heads": HEADS, "strategy": {"kind": "full"}},
    {"data": "text", "backbone": {"kind": "tcn", "width": 16}, **NEXT},
    {"data": "text", "backbone": {"kind": "transformer", "width": 16, "depth": 2}, **NEXT},
]


def make(request: dict[str, Any], device: str) -> Run:
    request = {**request, "training": TRAINING}
    data = tiny.DATASETS[request.pop("data", "image")](48)
    if "heads" in request:
        resolved: Any = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config
    else:
        resolved = resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config
    return prepare(resolved, data, device=device)


def losses(run: Run) -> list[float]:
    return [event.losses["loss"].item() for event in run.train() if isinstance(event, StepDone)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_gpu_learns_as_the_cpu_does(request_: dict[str, Any], tmp_path: Path) -> None:
    on_gpu = make(request_, "cuda")
    assert all(parameter.device.type == "cuda" for parameter in on_gpu.state.objective.parameters())
    assert losses(on_gpu) == pytest.approx(losses(make(request_, "cpu")), rel=0.02)
    on_gpu.state.save(tmp_path / "state.safetensors")
    again = make(request_, "cuda")
    again.state.load(tmp_path / "state.safetensors")
    for mine, theirs in zip(
        again.state.objective.state_dict().values(), on_gpu.state.objective.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)
    folder = tmp_path / "model"
    folder.mkdir()
    on_gpu.save_bundle(folder)
    predictor = load_bundle(folder)
    assert predictor.embed(on_gpu.data.inputs[:3]).shape[0] == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_gpu_serves_what_the_cpu_does(request_: dict[str, Any], tmp_path: Path) -> None:
    run = make(request_, "cpu")
    run.save_bundle(tmp_path)
    on_cpu, on_gpu = load_bundle(tmp_path), load_bundle(tmp_path, device="cuda")
    assert all(parameter.device.type == "cuda" for parameter in on_gpu.bundle.backbone.parameters())
    rows = on_cpu.manifest.modality.specimens(5)
    torch.testing.assert_close(on_gpu.embed(rows), on_cpu.embed(rows), rtol=1e-3, atol=1e-4)
    if on_cpu.bundle.heads:
        alone, together = on_gpu.predict(rows), on_gpu.predict_together(rows, [(on_gpu, 2), (on_gpu, 3)])
        classes = [[row["label"]["class"] for row in answers] for answers in (on_cpu.predict(rows), alone, together)]
        assert classes[0] == classes[1] == classes[2]
