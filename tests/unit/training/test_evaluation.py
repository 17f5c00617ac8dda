"""Measuring: means over rows, names of curves, and JSON that is always valid."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data import arrays as data_module
from app.ml.data.arrays import ArrayData, Examples, InMemory
from app.ml.data.chunks import rows_per_block
from app.ml.fitting.evaluation import Evaluation, features_of
from app.ml.interfaces import Encoding
from app.ml.kinds.backbones.mlp import ResolvedMlp
from app.ml.kinds.heads.classifier import ClassifierHead
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.models.assembly import FineTuning
from app.ml.models.predictor import load_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.run import Run, prepare


def two_heads(data: ArrayData | None = None, **request: Any) -> Run:
    data = data or tiny.table()
    heads = [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}]
    config = FineTuningConfig.model_validate({"heads": heads, "training": {"epochs": 1}, **request})
    return prepare(resolve_fine_tuning(config, data.spec, None).config, data)


def test_losses_are_means_over_rows_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.images()
    config = PretrainingConfig.model_validate({"method": {"kind": "autoencoder"}, "training": {"epochs": 1}})
    run = prepare(resolve_pretraining(config, data.spec).config, data)
    whole = run.evaluate("train")
    monkeypatch.setattr(data_module, "rows_per_block", lambda _: 7)
    blocks = run.evaluate("train")
    assert whole is not None
    assert blocks is not None
    assert blocks.losses == pytest.approx(whole.losses, rel=1e-5)
    with torch.no_grad():
        direct = run.state.objective.loss(run.examples("train").batch(None))["loss"].item()
    assert whole.losses["loss"] == pytest.approx(direct, rel=1e-5)


def test_metrics_see_the_split_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    run = two_heads()
    whole = run.evaluate("test")
    monkeypatch.setattr(data_module, "rows_per_block", lambda _: 3)
    blocks = run.evaluate("test")
    assert whole is not None
    assert blocks is not None
    assert blocks.heads["label"]["auc_roc"] == pytest.approx(whole.heads["label"]["auc_roc"])
    assert blocks.heads["size"]["r2"] == pytest.approx(whole.heads["size"]["r2"], rel=1e-4)
    assert whole.rows == len(run.examples("test"))


def test_curves_are_named_after_the_head_where_there_are_several() -> None:
    evaluation = two_heads().evaluate("validation")
    assert evaluation is not None
    assert {"val/loss", "val/label", "val/size", "val/label/accuracy", "val/size/rmse"} <= evaluation.scalars().keys()
    single = Evaluation("validation", 3, {"loss": 1.0}, {"label": {"accuracy": 0.5, "auc_roc": None}})
    assert single.scalars() == {"val/loss": 1.0, "val/accuracy": 0.5}


def test_a_diverged_loss_is_null_in_json() -> None:
    evaluation = Evaluation("test", 3, {"loss": math.nan, "mse": math.inf})
    assert json.loads(json.dumps(evaluation.as_json(), allow_nan=False))["losses"] == {"loss": None, "mse": None}


def test_a_heads_loss_is_a_mean_over_the_rows_that_carry_its_target() -> None:
    data = tiny.table(2500)
    data.split[:] = 2
    data.split[0] = 0
    data.targets[500:, 1] = math.nan
    run = two_heads(data, strategy={"kind": "full"})
    seen: list[int] = []
    run.state.objective.backbone.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    evaluation = run.evaluate("test")
    assert evaluation is not None
    assert seen == [1024, 1024, 451], "the backbone runs once per row"
    with torch.no_grad():
        whole = run.state.objective.eval().loss(run.examples("test").batch(None))
    assert evaluation.losses == pytest.approx({name: value.item() for name, value in whole.items()}, rel=1e-5)
    assert evaluation.losses.keys() == {"loss", "label", "size"}


@pytest.mark.parametrize(
    ("shape", "rows"), [((4,), 1024), ((1, 28, 28), 1024), ((3, 224, 224), 111), ((3, 9000, 9000), 1)]
)
def test_a_block_is_bounded_in_rows_and_bytes(shape: tuple[int, ...], rows: int) -> None:
    assert rows_per_block(shape) == rows


def test_features_are_computed_in_blocks_and_without_dropout() -> None:
    torch.manual_seed(0)
    backbone = ResolvedMlp(hidden=(4, 3), dropout=0.5).build(Encoding(shape=(1, 1500, 1500)))
    seen: list[int] = []
    backbone.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    rows = torch.rand(9, 1, 1500, 1500)
    objective = FineTuning(
        backbone.train(), torch.nn.ModuleDict(), (), ResolvedLinearProbe(solver="exact", layer="last")
    )
    features = features_of(objective, Examples(InMemory(rows), {}))
    assert seen == [7, 2]
    with torch.no_grad():
        assert torch.allclose(features, backbone.eval()(rows), atol=1e-5)


def overconfident(data: ArrayData, epochs: int = 150) -> Run:
    """Half of the labels say nothing, and the network is large enough to learn them all the same."""
    random = np.random.default_rng(0)
    data.targets[:, 0] = np.where(random.random(600) < 0.5, random.integers(0, 3, 600), data.targets[:, 0])
    request = {
        "heads": [{"kind": "classifier", "target": "label"}],
        "backbone": {"kind": "mlp", "hidden": [128, 64]},
        "strategy": {"kind": "full"},
        "training": {"epochs": epochs, "batch_size": 128, "optimizer": {"kind": "adam", "lr": 0.01}},
    }
    return prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)


def temperature(run: Run) -> float:
    (head,) = run.bundle().heads.values()
    assert isinstance(head, ClassifierHead)
    return head.temperature.item()


def test_training_ends_with_calibrated_heads_resumed_or_not(tmp_path: Path) -> None:
    run = overconfident(tiny.table(600))
    list(run.train())
    assert temperature(run) > 1.5
    measured = run.evaluate("test")
    assert measured is not None
    label = measured.as_json()["heads"]["label"]
    assert label["ece"] < label["ece_unscaled"] - 0.05
    assert label["intervals"]["ece"]["low"] < label["ece"] < label["intervals"]["ece"]["high"]
    assert label["intervals"]["accuracy"]["level"] == 0.95
    assert "confusion_matrix" not in label["intervals"]
    run.state.save(tmp_path / "state.safetensors")
    again = overconfident(tiny.table(600))
    again.state.load(tmp_path / "state.safetensors")
    list(again.train())
    assert temperature(again) == temperature(run)
    run.save_bundle(tmp_path)
    rows = run.data.inputs[:20]
    with torch.no_grad():
        outputs = run.bundle().outputs(run.modality.encode(rows))["label"]
    scaled = (outputs.double() / temperature(run)).softmax(1)
    answers = load_bundle(tmp_path).predict(rows)
    probabilities = [list(answer["label"]["probabilities"].values()) for answer in answers]
    assert torch.allclose(torch.tensor(probabilities, dtype=torch.float64), scaled)


def test_without_validation_rows_nothing_is_scaled() -> None:
    data = tiny.table(600)
    data.split[data.split == 1] = 0
    run = overconfident(data, epochs=2)
    list(run.train())
    assert temperature(run) == 1


def test_a_language_models_pretraining_has_intervals_too() -> None:
    data = tiny.texts(60)
    config = PretrainingConfig.model_validate({"method": {"kind": "next_token"}, "training": {"epochs": 1}})
    run = prepare(resolve_pretraining(config, data.spec).config, data)
    measured = run.evaluate("train")
    assert measured is not None
    evaluation = measured.as_json()
    assert evaluation["intervals"].keys() == {"perplexity", "token_accuracy", "bits_per_character"}
    for name, interval in evaluation["intervals"].items():
        assert interval["low"] <= evaluation["losses"][name] <= interval["high"]
    pretrained = Evaluation("test", 60, {"loss": 1.0}).as_json()
    assert pretrained == {"split": "test", "rows": 60, "losses": {"loss": 1.0}, "intervals": {}, "heads": {}}
