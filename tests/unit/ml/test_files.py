"""Checkpoints and bundles: whole or refused, and byte for byte the same when equal."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data import tensor_file
from app.ml.data.arrays import ArrayData, InMemory, OnDisk
from app.ml.errors import CorruptCheckpointError, CorruptModelError
from app.ml.models import bundle
from app.ml.models.predictor import load_bundle
from app.ml.models.shared import SharedParts
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.run import Run, prepare

TRAINING = {"epochs": 2, "batch_size": 16}


def pretrained(**request: Any) -> Run:
    data = tiny.images()
    config = PretrainingConfig.model_validate(
        {"backbone": {"kind": "mlp", "hidden": [8]}, "training": TRAINING, **request}
    )
    run = prepare(resolve_pretraining(config, data.spec).config, data)
    list(run.train())
    return run


def probe(parent: bundle.Bundle) -> Run:
    data = tiny.images()
    heads = [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size", "name": "how.big"}]
    config = FineTuningConfig.model_validate(
        {"heads": heads, "strategy": {"kind": "linear_probe"}, "training": TRAINING}
    )
    run = prepare(resolve_fine_tuning(config, data.spec, parent.manifest).config, data, parent=parent)
    list(run.train())
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained model and one that was fine-tuned from it, to copy from."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("model", "fine-tuned"):
        (folder / name).mkdir()
    pretrained().save_bundle(folder / "model")
    probe(bundle.read_bundle(folder / "model")).save_bundle(folder / "fine-tuned")
    return folder


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "model", tmp_path / "model")


@pytest.fixture
def fine_tuned(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "fine-tuned", tmp_path / "fine-tuned")


def test_equal_trainings_give_equal_bytes(model: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for name in pretrained().save_bundle(again):
        assert (again / name).read_bytes() == (model / name).read_bytes(), name


def test_a_probe_keeps_its_parents_backbone_byte_for_byte(model: Path, fine_tuned: Path) -> None:
    assert (model / bundle.BACKBONE).read_bytes() == (fine_tuned / bundle.BACKBONE).read_bytes()
    assert (fine_tuned / bundle.HEADS).stat().st_size < 4096


def test_a_fine_tuned_model_can_be_a_parent(fine_tuned: Path) -> None:
    again = probe(bundle.read_bundle(fine_tuned))
    assert again.evaluate("test") is not None


def test_models_share_a_backbone_already_in_memory(model: Path, fine_tuned: Path) -> None:
    shared = SharedParts()
    parent = load_bundle(model, shared)
    child = load_bundle(fine_tuned, shared)
    assert child.bundle.backbone is parent.bundle.backbone
    rows = tiny.images().inputs
    assert np.array_equal(child.embed(rows), parent.embed(rows))
    assert set(child.predict(rows)[0]) == {"label", "how.big"}


def test_predictions_start_from_json(fine_tuned: Path) -> None:
    predictor = load_bundle(fine_tuned)
    stored = tiny.images().inputs[:2]
    assert (predictor.decode(stored[:, :, :, 0].tolist()) == stored).all()
    assert predictor.predict(stored)[1]["label"]["class"] in tiny.CLASSES
    assert predictor.embed(stored).shape == (2, 8)


def test_large_rows_go_through_the_backbone_in_small_blocks(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ml.models.array_model.MAX_MULTIPLICATIONS", 0)
    predictor, rows = load_bundle(model), tiny.images().inputs
    expected = predictor.embed(rows)
    seen: list[int] = []
    predictor.bundle.backbone.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    monkeypatch.setattr("app.ml.data.chunks._BLOCK_BYTES", 4 * 64 * 20)
    assert np.allclose(predictor.embed(rows), expected, atol=1e-6)
    assert seen == [20, 20, 8]


@pytest.mark.parametrize("name", [bundle.BACKBONE, bundle.HEADS, bundle.GOLDEN, bundle.MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_model_is_refused(fine_tuned: Path, name: str, damage: str) -> None:
    path = fine_tuned / name
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "gone":
        path.unlink()
    elif damage == "flip":
        content[middle] ^= 0xFF  # no UTF-8 text holds this, so the manifest is refused too
        path.write_bytes(content)
    else:
        path.write_bytes(content[: middle if damage == "cut" else 0])
    with pytest.raises(CorruptModelError):
        load_bundle(fine_tuned)


def rewrite(folder: Path, name: str, change: Any) -> None:
    """Change a file's tensors and vouch for it in the manifest, as a wrong conversion would."""
    tensors, _ = tensor_file.read(folder / name)
    change(tensors)
    digest = tensor_file.write_atomically(folder / name, tensor_file.to_bytes(tensors))
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    manifest["files"][name] = digest
    (folder / bundle.MANIFEST).write_text(json.dumps(manifest))


def test_other_weights_do_not_pass_the_golden_rows(fine_tuned: Path) -> None:
    rewrite(fine_tuned, bundle.BACKBONE, lambda tensors: tensors["blocks.0.0.bias"].add_(0.1))
    with pytest.raises(CorruptModelError, match="does not answer as when it was saved"):
        load_bundle(fine_tuned)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_without_finite_answers_is_refused_even_where_it_was_saved_so(model: Path, value: float) -> None:
    rewrite(model, bundle.BACKBONE, lambda tensors: tensors["blocks.0.0.bias"].fill_(value))
    rewrite(model, bundle.GOLDEN, lambda tensors: tensors["features"].fill_(value))
    with pytest.raises(CorruptModelError, match="does not answer as when it was saved: features"):
        load_bundle(model)


def test_golden_rows_are_nobodys(fine_tuned: Path) -> None:
    """A model goes where its data may not: no row of the dataset is in its files."""
    golden, _ = tensor_file.read(fine_tuned / bundle.GOLDEN)
    asked = {row.tobytes() for row in golden["inputs"].numpy()}
    assert len(asked) == len(golden["inputs"])
    assert asked.isdisjoint({row.tobytes() for row in tiny.images().inputs})


def test_golden_rows_are_needed(model: Path) -> None:
    rewrite(model, bundle.GOLDEN, lambda tensors: tensors.clear())
    with pytest.raises(CorruptModelError, match="holds no inputs"):
        load_bundle(model)


@pytest.mark.parametrize("shape", [(8, 8), (3, 5, 5, 1), (3,), (8, 8, 8, 3)])
def test_golden_rows_of_another_shape_are_refused(model: Path, shape: tuple[int, ...]) -> None:
    rewrite(model, bundle.GOLDEN, lambda tensors: tensors.update(inputs=torch.zeros(shape, dtype=torch.uint8)))
    with pytest.raises(CorruptModelError):
        load_bundle(model)


def edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    (folder / bundle.MANIFEST).write_text(json.dumps({**manifest, **changes}))


def test_preprocessing_and_backbone_agree_on_the_shape(model: Path) -> None:
    edit(model, encoding={"shape": [1, 4, 16], "vocabulary": None})  # as many values, so that the weights would fit
    with pytest.raises(CorruptModelError, match="preprocessing gives"):
        load_bundle(model)


def test_a_backbone_that_cannot_be_built_is_a_corrupt_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such network")  # noqa: EM101, TRY003 - short

    monkeypatch.setattr("app.ml.kinds.backbones.mlp.ResolvedMlp.build", fail)
    with pytest.raises(CorruptModelError, match="no such network"):
        load_bundle(model)


def test_changed_preprocessing_does_not_pass_the_golden_rows(tmp_path: Path) -> None:
    data = tiny.table()
    config = PretrainingConfig.model_validate({"training": {"epochs": 1}})
    prepare(resolve_pretraining(config, data.spec).config, data).save_bundle(tmp_path)
    load_bundle(tmp_path)
    manifest = json.loads((tmp_path / bundle.MANIFEST).read_text())
    manifest["modality"]["columns"][0]["mean"] += 1
    (tmp_path / bundle.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptModelError, match="features"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("blocks.0.0.bias"),
        lambda tensors: tensors.update(extra=torch.zeros(1)),
        lambda tensors: tensors.update({"blocks.0.0.bias": torch.zeros(9)}),
        lambda tensors: tensors.update({"blocks.0.0.bias": torch.zeros(8, dtype=torch.float64)}),
    ],
)
def test_tensors_that_do_not_fit_are_refused(model: Path, change: Any) -> None:
    rewrite(model, bundle.BACKBONE, change)
    with pytest.raises(CorruptModelError, match="does not fit its manifest"):
        load_bundle(model)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    tensor_file.write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        tensor_file.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\0\0\0\0\0\0\0{}      ", bytes(100)])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpointError):
        pretrained().state.load(path)


def test_a_checkpoints_progress_is_checked(tmp_path: Path) -> None:
    run = pretrained()
    path = tmp_path / "state.safetensors"
    run.state.save(path)
    tensors, manifest = tensor_file.read(path)
    manifest["progress"]["step"] = "many"
    tensor_file.write_atomically(path, tensor_file.to_bytes(tensors, manifest))
    with pytest.raises(CorruptCheckpointError, match="progress"):
        run.state.load(path)


def test_a_folder_opens_as_it_was_prepared(tmp_path: Path) -> None:
    data = tiny.images()
    for name, values in (("inputs", data.inputs), ("targets", data.targets), ("split", data.split)):
        np.save(tmp_path / f"{name}.npy", values)
    manifest = {"format": 1, "spec": data.spec.model_dump(mode="json")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    opened = ArrayData.open(tmp_path)
    assert opened.spec == data.spec
    assert isinstance(opened.inputs, np.memmap)
    assert (opened.inputs == data.inputs).all()
    (tmp_path / "targets.npy").unlink()
    assert ArrayData.open(tmp_path).targets.shape == (48, 0)


def prepared(data: ArrayData) -> Run:
    return prepare(resolve_pretraining(PretrainingConfig(), data.spec).config, data)


@pytest.mark.parametrize("make", tiny.DATASETS.values())
def test_a_split_too_large_for_memory_gives_the_same_batches(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make()
    modality, device = prepared(data).modality, torch.device("cpu")
    small = data.examples("train", modality, device, ("label",))
    monkeypatch.setattr("app.ml.data.arrays.MAX_BYTES_IN_MEMORY", 0)
    large = data.examples("train", modality, device, ("label",))
    assert isinstance(small.inputs, InMemory)
    assert isinstance(large.inputs, OnDisk)
    for indices in (None, torch.tensor([5, 2, 9])):
        mine, theirs = small.batch(indices), large.batch(indices)
        assert torch.equal(mine.inputs, theirs.inputs)
        assert torch.equal(mine.targets["label"], theirs.targets["label"])


def test_only_labelled_rows_are_drawn_for_a_target() -> None:
    data = tiny.images()
    data.targets[::2, 0] = np.nan
    train = data.positions("train")
    assert (data.positions("train", ["label"]) == train[train % 2 == 1]).all()
    assert (data.positions("train", ["label", "size"]) == train).all()
    labels = data.labels("label", train)
    assert (labels[train % 2 == 0] == -1).all()
