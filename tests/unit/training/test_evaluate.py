"""Measuring: means over rows, names of curves, and JSON that is always valid."""

import json
import math

import pytest
import torch

from app.ml.configs import FineTuningConfig, PretrainingConfig
from app.ml.recipes import resolve_fine_tuning, resolve_pretraining
from tests.support import tiny
from worker.training import evaluate as module
from worker.training.evaluate import Evaluation
from worker.training.run import Run, prepare


def two_heads() -> Run:
    data = tiny.table()
    heads = [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}]
    config = FineTuningConfig.model_validate({"heads": heads, "training": {"epochs": 1}})
    return prepare(resolve_fine_tuning(config, data.spec, None).config, data)


def test_losses_are_means_over_rows_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.images()
    config = PretrainingConfig.model_validate({"training": {"epochs": 1}})
    run = prepare(resolve_pretraining(config, data.spec).config, data)
    whole = run.evaluate("train")
    monkeypatch.setattr(module, "_BLOCK", 7)
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
    monkeypatch.setattr(module, "_BLOCK", 3)
    blocks = run.evaluate("test")
    assert whole is not None
    assert blocks is not None
    assert blocks.heads["label"]["auc_roc"] == pytest.approx(whole.heads["label"]["auc_roc"])
    assert blocks.heads["size"]["r2"] == pytest.approx(whole.heads["size"]["r2"], rel=1e-4)
    assert whole.rows == len(run.examples("test"))


def test_curves_are_named_after_the_head_where_there_are_several() -> None:
    found = two_heads().evaluate("validation")
    assert found is not None
    assert {"val/loss", "val/label", "val/size", "val/label/accuracy", "val/size/rmse"} <= found.scalars().keys()
    one = Evaluation("validation", 3, {"loss": 1.0}, {"label": {"accuracy": 0.5, "auc_roc": None}})
    assert one.scalars() == {"val/loss": 1.0, "val/accuracy": 0.5}


def test_a_diverged_loss_is_null_in_json() -> None:
    found = Evaluation("test", 3, {"loss": math.nan, "mse": math.inf})
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["losses"] == {"loss": None, "mse": None}
