"""Several heads on one backbone: a prediction runs the backbone once, and answers one key a head."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from app.ml.models.predictor import load_bundle
from tests.support import tiny
from tests.support.texts import run_of

HEADS: list[dict[str, Any]] = [
    {"kind": "classifier", "target": "label"},
    {"kind": "regressor", "target": "size"},
    {"kind": "multi_label", "target": ["round", "large"], "name": "traits"},
]


@pytest.mark.parametrize("strategy", ["linear_probe", "full"])
def test_the_backbone_runs_once_for_all_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    monkeypatch.setattr("app.ml.models.array_model.MAX_MULTIPLICATIONS", 0)
    data = tiny.table()
    run = run_of(data, {"heads": HEADS, "strategy": {"kind": strategy}, "training": {"epochs": 1}})
    run.save_bundle(tmp_path)
    predictor = load_bundle(tmp_path)
    runs: list[int] = []
    first = next(one for one in predictor.bundle.backbone.modules() if isinstance(one, nn.Linear))
    first.register_forward_pre_hook(lambda *_: runs.append(1))
    answers = predictor.predict(data.inputs[:4])
    assert len(runs) == 1
    assert [set(answer) for answer in answers] == [{"label", "size", "traits"}] * 4
