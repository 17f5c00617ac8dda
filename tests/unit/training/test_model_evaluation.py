"""Measuring a saved model on rows of a dataset gives what its training measured, for every kind of head."""

from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.models.bundle import read_bundle
from app.ml.resolution.compatibility import check_measurable
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from tests.support import tiny
from worker.training import model_evaluation
from worker.training.model_evaluation import evaluate_model, limit_rows, rows_to_evaluate
from worker.training.run import Run, prepare

HEADS: dict[str, tuple[list[dict[str, Any]], ArrayData]] = {
    "classifier": ([{"kind": "classifier", "target": "label"}], tiny.images(60)),
    "regressor": ([{"kind": "regressor", "target": "size"}], tiny.table(60)),
    "both": ([{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}], tiny.series(60)),
    "labels": ([{"kind": "multi_label", "target": ["round", "large"]}], tiny.table(60)),
    "numbers and a class": (
        [{"kind": "regressor", "target": "size", "name": "one"}, {"kind": "classifier", "target": "round"}],
        tiny.images(60),
    ),
    "generator": ([{"kind": "generator"}], tiny.texts(60)),
}


def trained(heads: list[dict[str, Any]], data: ArrayData) -> Run:
    request = {"heads": heads, "strategy": {"kind": "full"}, "training": {"epochs": 2}}
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    list(run.train())
    return run


@pytest.mark.parametrize(("heads", "data"), HEADS.values(), ids=HEADS)
def test_a_saved_model_measures_as_its_training_did(
    heads: list[dict[str, Any]], data: ArrayData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.targets[::7, 0] = float("nan")
    run = trained(heads, data)
    run.save_bundle(tmp_path)
    bundle = read_bundle(tmp_path)
    check_measurable(bundle.manifest, data.spec, "test")
    rows = rows_to_evaluate(data, "test", bundle.manifest.heads)
    monkeypatch.setattr(model_evaluation, "rows_per_block", lambda _: 4)
    answered: list[int] = []
    evaluation = evaluate_model(bundle, data, rows, "test", torch.device("cpu"), answered.append)
    expected = run.evaluate("test")
    assert expected is not None
    assert answered == [*range(4, len(rows), 4), len(rows)]
    assert (evaluation.rows, evaluation.losses) == (expected.rows, pytest.approx(expected.losses, rel=1e-4))
    for key, metrics in expected.heads.items():
        numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        assert {name: evaluation.heads[key][name] for name in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-6)


def test_of_too_many_rows_some_are_measured_evenly_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads, data = HEADS["both"]
    trained(heads, data).save_bundle(tmp_path)
    entries = read_bundle(tmp_path).manifest.heads
    rows = rows_to_evaluate(data, "all", entries)
    assert len(limit_rows(rows, entries)) == len(rows) == 60
    monkeypatch.setattr(model_evaluation, "MAX_NUMBERS", 100)
    assert limit_rows(rows, entries).tolist() == [0, 5, 11, 16, 21, 27, 32, 38, 43, 48, 54, 59]
