"""bfloat16 where it was asked for or the device has it: near float32, resumable bit for bit, measured in float32."""

from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.configs.training import TrainingConfig
from app.ml.models.bundle import read_bundle
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training import precision
from worker.training.events import StepDone
from worker.training.run import Run, prepare

CPU = torch.device("cpu")
BACKBONES = pytest.mark.parametrize("backbone", ["mlp", "convnet"])


def prepared(backbone: str, **training: Any) -> Run:
    data = tiny.images()
    training = {"epochs": 6, "batch_size": 10, **training}
    request = {"backbone": {"kind": backbone}, "method": {"kind": "autoencoder"}, "training": training}
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


def losses(run: Run) -> list[float]:
    return [event.losses["loss"].item() for event in run.train() if isinstance(event, StepDone)]


@BACKBONES
def test_bfloat16_learns_as_float32_does_and_is_not_the_same(backbone: str) -> None:
    exact, rough = (losses(prepared(backbone, precision=name)) for name in ("float32", "bfloat16"))
    assert exact != rough
    assert rough == pytest.approx(exact, rel=0.02)


@BACKBONES
def test_a_training_in_bfloat16_resumes_bit_for_bit(backbone: str, tmp_path: Path) -> None:
    undisturbed = prepared(backbone, precision="bfloat16")
    expected = losses(undisturbed)
    first, before = prepared(backbone, precision="bfloat16"), []
    for event in first.train():
        if isinstance(event, StepDone):
            before.append(event.losses["loss"].item())
            if event.step == 9:
                break
    first.state.save(tmp_path / "state")
    again = prepared(backbone, precision="bfloat16")
    again.state.load(tmp_path / "state")
    assert before + losses(again) == expected
    expected = undisturbed.state.objective.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in again.state.objective.state_dict().items())


@BACKBONES
def test_a_model_trained_in_bfloat16_is_a_plain_model(backbone: str, tmp_path: Path) -> None:
    run = prepared(backbone, precision="bfloat16")
    losses(run)
    run.save_bundle(tmp_path)
    inputs = run.modality.encode(run.data.inputs[:])
    with torch.no_grad():
        features = run.state.objective.backbone.eval()(inputs)
        assert features.dtype == torch.float32
        assert torch.equal(read_bundle(tmp_path).backbone(inputs), features)
    assert all(value.is_contiguous() for value in run.state.objective.state_dict().values())


@pytest.mark.parametrize(
    ("has", "reaches"),
    [({"amx_bf16": True}, True), ({"amx_bf16": False, "avx512_bf16": True}, True), ({"avx512_bf16": False}, False)],
)
def test_native_is_what_the_device_has(has: dict[str, bool], reaches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert precision.computes_in_bfloat16(TrainingConfig(precision="native"), CPU) is reaches
    assert not precision.computes_in_bfloat16(TrainingConfig(precision="float32"), CPU)
    assert precision.computes_in_bfloat16(TrainingConfig(precision="bfloat16"), CPU)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not precision.multiplies_bfloat16(CPU), "a torch or processor that does not say"


def test_maps_lie_with_channels_last_in_bfloat16_alone() -> None:
    run, seen = prepared("convnet", precision="bfloat16"), []
    second = run.state.objective.backbone.blocks[1][0]  # type: ignore[index]
    second.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].is_contiguous()))
    list(run.train())
    training = seen[: run.plan.steps_per_epoch]
    assert not any(training)
    seen.clear()
    run.evaluate("test")
    assert all(seen)


@pytest.mark.parametrize(
    ("method", "modality", "expected"),
    [
        ("autoencoder", "image", "native"),
        ("vae", "image", "native"),
        ("kmeans", "image", "float32"),
        ("autoencoder", "table", "float32"),  # of four columns
    ],
)
def test_auto_follows_method_and_size(method: str, modality: str, expected: str) -> None:
    request = PretrainingConfig.model_validate({"method": {"kind": method}})
    spec = tiny.DATASETS[modality]().spec  # type: ignore[index]
    assert resolve_pretraining(request, spec).config.training.precision == expected
