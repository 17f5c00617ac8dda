"""The residual network for tables against a loop over numbers, and what it is told of a row's columns."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Encoding
from app.ml.kinds.backbones.tabular_resnet import TabularResNet
from app.ml.kinds.modalities.table import TableModality
from app.ml.models.bundle import MANIFEST, read_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ColumnSpec, DataSpec, TargetSpec
from tests.support import tiny
from worker.training.run import prepare

SMALL = {"kind": "tabular_resnet", "width": 6, "frequencies": 2, "embedding": 3}


def normed(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / math.sqrt(values.var() + 1e-5)


def test_a_row_becomes_what_the_formulas_say() -> None:
    torch.manual_seed(0)
    config = TabularResNet.model_validate(SMALL)
    backbone = config.build(Encoding(shape=(4,), numbers=(0, 3))).eval()
    inputs = torch.randn(3, 4)
    named = {name: value.numpy().astype(np.float64) for name, value in backbone.state_dict().items()}
    for row, features in zip(inputs.double().numpy(), backbone(inputs).detach(), strict=True):
        entered = list(row)
        for index, place in enumerate((0, 3)):
            angles = [2 * math.pi * rate * row[place] for rate in named["waves.rates"][index]]
            waves = [math.sin(one) for one in angles] + [math.cos(one) for one in angles]
            entered += np.maximum(waves @ named["waves.weight"][index] + named["waves.bias"][index], 0).tolist()
        values = named["entrance.weight"] @ entered + named["entrance.bias"]
        inner = named["blocks.0.widen.weight"] @ normed(values) + named["blocks.0.widen.bias"]
        values += named["blocks.0.narrow.weight"] @ np.maximum(inner, 0) + named["blocks.0.narrow.bias"]
        assert features.numpy() == pytest.approx(np.maximum(normed(values), 0), abs=1e-5)


def test_numbers_and_dates_have_waves_and_flags_and_categories_have_none() -> None:
    columns = (
        ColumnSpec(name="colour", type="category", categories=("red", "blue")),
        ColumnSpec(name="age", type="number"),
        ColumnSpec(name="born", type="date"),
        ColumnSpec(name="size", type="number"),
    )
    rows = np.array([[0, 1, 20.0, 3], [1, np.nan, 30, 4], [1, 2, 40, 5]], np.float32)
    spec = DataSpec(modality="table", shape=(4,), columns=columns, targets=(), rows={"train": 3}, labelled={})
    encoding = TableModality.fit(rows, spec).encoding
    assert (encoding.shape, encoding.numbers) == ((3 + 2 + 5 + 1,), (3, 5, 10))
    backbone = TabularResNet.model_validate(SMALL).build(encoding)
    assert backbone.entrance.in_features == 11 + 3 * 3
    categories = TabularResNet.model_validate(SMALL).build(Encoding(shape=(5,), numbers=()))
    assert categories.waves is None
    assert categories(torch.eye(5)).shape == (5, 6)


def test_a_model_of_before_numbers_were_told_still_loads(tmp_path: Path) -> None:
    data = tiny.table()
    config = PretrainingConfig.model_validate({"backbone": {"kind": "mlp"}, "training": {"epochs": 1}})
    prepare(resolve_pretraining(config, data.spec).config, data).save_bundle(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["encoding"].pop("numbers") == [0, 1, 2]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert read_bundle(tmp_path).backbone.encoding.numbers is None


def tumours() -> ArrayData:
    """Two thirds train, the rest test."""
    x, y = load_breast_cancer(return_X_y=True)
    columns = tuple(ColumnSpec(name=f"c{index}", type="number") for index in range(x.shape[1]))
    split = np.where(np.arange(len(x)) % 3 == 0, 2, 0).astype(np.uint8)
    counts = {"train": int((split == 0).sum()), "test": int((split == 2).sum())}
    target = TargetSpec(name="label", type="category", classes=("malignant", "benign"))
    spec = DataSpec(
        modality="table",
        shape=x.shape[1:],
        columns=columns,
        targets=(target,),
        rows=counts,  # type: ignore[arg-type]
        labelled={"label": counts},  # type: ignore[dict-item]
    )
    return ArrayData(spec, x.astype(np.float32), y.astype(np.float64)[:, None], split)


def test_it_tells_tumours_apart_after_swap_noise() -> None:
    data = tumours()
    body = {
        "backbone": {"kind": "tabular_resnet", "width": 32},
        "method": {"kind": "denoising_autoencoder"},
        "training": {"epochs": 8},
    }
    pretraining = prepare(resolve_pretraining(PretrainingConfig.model_validate(body), data.spec).config, data)
    before = pretraining.evaluate("test")
    for _ in pretraining.train():
        pass
    after = pretraining.evaluate("test")
    assert before is not None
    assert after is not None
    assert after.losses["mse"] < 0.5 * before.losses["mse"]
    parent = pretraining.bundle()
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": {"kind": "linear_probe"}}
    resolved = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, parent.manifest).config
    probe = prepare(resolved, data, parent=parent)
    for _ in probe.train():
        pass
    found = probe.evaluate("test")
    assert found is not None
    assert found.heads["label"]["accuracy"] > 0.94
