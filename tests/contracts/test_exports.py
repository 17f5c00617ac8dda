"""Every backbone, head, estimator and strategy, exported in both forms from a tiny model."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.errors import ExportError
from app.ml.exports.golden import check_golden
from app.ml.exports.graph import Graph, graph_of
from app.ml.exports.load import load
from app.ml.exports.onnx_file import write_onnx
from app.ml.exports.package import write_package
from app.ml.interfaces import BackboneRequest, HeadConfig
from app.ml.models.bundle import golden_rows, read_bundle, save_bundle
from tests.support import tiny

from .test_every_kind import Case, cases, example, registered

CLASSIFY = {"kind": "classifier", "target": "label"}
FULL = {"kind": "full"}


def exported() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for name, config in registered("backbones"):
        assert issubclass(config, BackboneRequest)
        for modality in config.accepts:
            heads = {"heads": [CLASSIFY], "strategy": FULL}
            found[f"{name}-{modality}"] = Case(modality, {"backbone": example(config), **heads})
    for name, config in registered("heads"):
        assert issubclass(config, HeadConfig)
        modality = "text" if config.accepts == "inputs" else "table"
        found[name] = Case(modality, {"heads": [example(config)], "strategy": FULL})
    of_roots = {"kind": "regressor", "target": "size", "transform": "sqrt", "loss": "gaussian"}
    found["regressor-transformed"] = Case("table", {"heads": [of_roots], "strategy": FULL})
    whole = ("strategies-", "estimators-")
    return found | {name: case for name, case in cases().items() if name.startswith(whole)}


EXPORTED = exported()


def _further_modality(name: str) -> bool:
    """Whether a backbone's kind is exported from another modality, too."""
    kind, _, _ = name.rpartition("-")
    return name.startswith("backbones-") and next(other for other in EXPORTED if other.startswith(f"{kind}-")) != name


CASES = [pytest.param(name, marks=[pytest.mark.exhaustive] * _further_modality(name)) for name in EXPORTED]


def graph(case: Case, folder: Path) -> tuple[Graph, list[str]]:
    """The graph of a tiny model, which is in the folder with its files' names."""
    run = case.run()
    if case.has_estimator:
        list(run.train())  # which alone makes its tensors as large as they are
    names = save_bundle(folder, run.bundle())
    bundle = read_bundle(folder)
    golden, rows = golden_rows(folder, bundle.manifest)
    return graph_of(bundle, golden, rows, {"name": "tiny"}), names


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_kind_is_exported(name: str, tmp_path: Path) -> None:
    traced, names = graph(EXPORTED[name], tmp_path)
    assert write_package(traced, tmp_path, names, tmp_path / "model.zip") < 1e-4
    assert write_onnx(traced, tmp_path / "model.onnx") < 1e-4


def test_what_answers_otherwise_is_refused(tmp_path: Path) -> None:
    traced, names = graph(Case("table", {"heads": [CLASSIFY], "strategy": FULL}), tmp_path)
    write_package(traced, tmp_path, names, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert {*names, "program.json", "load.py"} <= set(archive.namelist())
    model = load(tmp_path)
    assert check_golden(traced, model, "safetensors") < 1e-6

    def shifted(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: answer + 0.01 for name, answer in model(rows).items()}

    def batched(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: answer - answer.mean(0) for name, answer in model(rows).items()}

    def failing(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        raise RuntimeError(str(rows.shape))

    wrong: list[tuple[Any, str]] = [
        (shifted, "label.probabilities differs"),
        (batched, "differs"),
        (failing, "not run"),
    ]
    for run, message in wrong:
        with pytest.raises(ExportError, match=message):
            check_golden(traced, run, "safetensors")


def test_a_model_without_a_graph_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("table", {"heads": [CLASSIFY], "strategy": FULL})
    save_bundle(tmp_path, case.run().bundle())
    bundle = read_bundle(tmp_path)
    golden, rows = golden_rows(tmp_path, bundle.manifest)
    sizes = type(bundle.backbone).forward

    def by_length(backbone: Any, inputs: torch.Tensor) -> torch.Tensor:
        return sizes(backbone, inputs) * len(inputs.tolist())

    monkeypatch.setattr(type(bundle.backbone), "forward", by_length)
    with pytest.raises(ExportError, match=r"this model \(\w+, classifier\) has no graph"):
        graph_of(bundle, golden, rows, {"name": "tiny"})


def test_tiny_modalities_are_those_of_the_cases() -> None:
    assert {case.modality for case in EXPORTED.values()} == set(tiny.DATASETS)
