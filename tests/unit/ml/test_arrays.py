"""Networks of fully connected layers come out by NumPy as they do by torch."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from app.ml.blocks.activations import activation
from app.ml.blocks.arrays import array_blocks, array_layers
from app.ml.blocks.mlp import mlp_layers
from app.ml.blocks.standardize import Standardize
from app.ml.configs.learning import FineTuningConfig
from app.ml.models import array_model
from app.ml.models.array_model import ArrayModel, through
from app.ml.models.bundle import Bundle
from app.ml.models.predictor import Predictor
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from tests.support import tiny
from tests.support.answers import flat
from worker.training.run import prepare

HEADS: list[dict[str, Any]] = [
    {"kind": "classifier", "target": "label"},
    {"kind": "classifier", "target": "label", "hidden": [6], "name": "deep"},
    {"kind": "regressor", "target": "size"},
    {"kind": "regressor", "target": "size", "loss": "gaussian", "name": "wide"},
    {"kind": "multi_label", "target": ["round", "large"], "name": "traits"},
]


def values(rows: int, size: int) -> torch.Tensor:
    return 4 * torch.randn(rows, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "elu", "tanh", "sigmoid"])
def test_each_activation_is_that_of_torch(name: Any) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*mlp_layers((5, 7, 3), name, dropout=0.5)).eval()
    layers = array_layers([network])
    assert layers is not None
    inputs = values(50, 5)
    before = inputs.clone()
    assert np.allclose(through(layers, inputs.numpy()), network(inputs).detach(), rtol=1e-5, atol=1e-6)
    assert torch.equal(inputs, before), "what is given stays as it was"


def test_a_standardisation_and_a_layer_without_bias() -> None:
    standardize = Standardize(4)
    standardize.fit(3 + values(9, 4))
    network = nn.Sequential(standardize, nn.Linear(4, 2, bias=False), nn.Identity()).eval()
    layers = array_layers(network)
    assert layers is not None
    assert np.allclose(through(layers, values(6, 4).numpy()), network(values(6, 4)).detach(), atol=1e-6)


def test_the_weights_are_shared() -> None:
    network = nn.Linear(3, 2)
    (layer,) = array_layers([network]) or ()
    with torch.no_grad():
        network.weight.mul_(2)
    assert np.allclose(layer(values(1, 3).numpy()), network(values(1, 3)).detach(), atol=1e-6)


@pytest.mark.parametrize("unknown", [nn.LayerNorm(3), nn.GELU(approximate="tanh"), nn.Softmax(1), nn.LeakyReLU()])
def test_a_network_with_anything_else_has_no_such_form(unknown: nn.Module) -> None:
    known = nn.Linear(3, 3)
    assert array_layers([known, nn.Sequential(activation("relu"), unknown)]) is None
    assert array_blocks([known, unknown]) is None
    assert len(array_blocks([known, nn.ReLU()]) or ()) == 2


def bundle_of(backbone: dict[str, Any], layer: int | str = "last") -> Bundle:
    data = tiny.table()
    strategy = {"kind": "linear_probe", "layer": layer, "solver": "gradient"}
    request = {"backbone": backbone, "heads": HEADS, "strategy": strategy, "training": {"epochs": 1}}
    torch.manual_seed(3)
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    bundle = run.bundle()
    for head in bundle.heads.values():
        for name, buffer in head.named_buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 2) if name != "class_weight" else None
        head.eval()
    bundle.backbone.eval()
    return bundle


MLP = {"kind": "mlp", "hidden": [7, 5], "activation": "gelu"}


@pytest.mark.parametrize("layer", ["last", "all", 0])
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_every_head_answers_as_by_torch(monkeypatch: pytest.MonkeyPatch, layer: int | str, rows: int) -> None:
    bundle, inputs = bundle_of(MLP, layer), tiny.table().inputs[:rows]
    by_numpy = Predictor(bundle)
    monkeypatch.setattr(array_model, "MAX_MULTIPLICATIONS", 0)
    by_torch = Predictor(bundle)
    runs: list[int] = []
    bundle.backbone.register_forward_pre_hook(lambda *_: runs.append(1))
    answers = by_numpy.predict(inputs)
    features = by_numpy.embed(inputs)
    assert not runs
    assert [flat(answer) for answer in answers] == [
        pytest.approx(flat(answer), rel=1e-5, abs=1e-6) for answer in by_torch.predict(inputs)
    ]
    assert np.allclose(features, by_torch.embed(inputs), atol=1e-6)
    assert features.shape == (rows, 5)
    assert runs or not rows, "torch computes where it is to"
    chosen = by_numpy.predict(inputs, heads=("deep", "size"))
    assert chosen == [{key: answer[key] for key in ("deep", "size")} for answer in answers]


def test_many_rows_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, inputs = bundle_of(MLP), tiny.table().inputs
    weights = sum(each.numel() for part in (bundle.backbone, *bundle.heads.values()) for each in part.parameters())
    monkeypatch.setattr(array_model, "MAX_MULTIPLICATIONS", 10 * weights)
    predictor = Predictor(bundle)
    runs: list[int] = []
    bundle.backbone.register_forward_pre_hook(lambda *_: runs.append(1))
    predictor.predict(inputs[:10])
    assert not runs
    predictor.predict(inputs[:11])
    assert runs


def test_only_what_comes_out_the_same_is_answered_by_arrays(caplog: pytest.LogCaptureFixture) -> None:
    assert ArrayModel.of(bundle_of({"kind": "tabular_resnet", "width": 8, "depth": 1})) is None
    bundle = bundle_of(MLP)
    assert ArrayModel.of(bundle) is not None
    assert not caplog.records
    head = bundle.heads["label"]
    assert head.folded  # type: ignore[truthy-bool] # it is kept from now on
    with torch.no_grad():
        head.layers[0][0].weight.add_(1)  # type: ignore[index, union-attr, operator]
    assert ArrayModel.of(bundle) is None
    assert "otherwise by NumPy" in caplog.text
    assert Predictor(bundle).predict(tiny.table().inputs[:2]), "torch answers"


@pytest.mark.parametrize("key", ["label", "size", "wide", "traits"])
def test_infinite_outputs_are_answered_by_the_largest_numbers(key: str) -> None:
    head = bundle_of(MLP).heads[key]
    width = {"label": 3, "size": 1, "wide": 2, "traits": 2}[key]
    outputs = np.array([[number] * width for number in (np.inf, -np.inf, 0.5)], np.float32)
    by_numpy, by_torch = head.answer(outputs), head.answer(torch.from_numpy(outputs))
    assert np.isfinite(by_numpy.numbers).all()
    assert np.array_equal(by_numpy.numbers, by_torch.numbers)
