"""What preprocessing and heads learn from rows, they learn from train rows: others, however extreme, change nothing."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ModalityKind
from tests.support import tiny
from worker.training.run import Run, prepare

TRAIN, VALIDATION, TEST = 0, 1, 2
CHOICES: dict[str, tuple[ModalityKind, dict[str, Any] | str]] = {
    "table": ("table", "auto"),
    "series": ("series", "auto"),
    "series by row": ("series", {"kind": "series", "scaling": "series"}),
    "characters": ("text", {"kind": "text", "tokenizer": "character"}),
    "byte pairs": ("text", {"kind": "text", "tokenizer": "bpe", "vocabulary": 300}),
}
HEADS = [
    {"kind": "classifier", "target": "label", "class_weights": "balanced"},
    {"kind": "regressor", "target": "size"},
]

TARGETS = {"label.class_weight", "size.target_mean", "size.target_std"}
FEATURES = {f"{head}.standardize.{name}" for head in ("label", "size") for name in ("mean", "std")}


def changed(data: ArrayData, *splits: int) -> ArrayData:
    """The same rows, but those of some splits extreme: large numbers, other letters, one class, large targets."""
    rows = np.isin(data.split, splits)
    inputs, targets = data.inputs.copy(), data.targets.copy()
    if data.spec.modality == "text":
        inputs[rows] = [text + "@#" * 3 for text in inputs[rows]]  # of nothing but unknown letters no model learns
    elif data.spec.modality == "image":
        inputs[rows] = 255
    else:
        inputs[rows] = np.where(np.isnan(inputs[rows]), np.nan, 1e4)
        if data.spec.modality == "table":
            inputs[rows, 3] = 1  # a category
    targets[rows, 0], targets[rows, 1] = 0, 1e4
    return dataclasses.replace(data, inputs=inputs, targets=targets)


def pretraining(data: ArrayData, preprocessing: dict[str, Any] | str) -> Run:
    config = PretrainingConfig.model_validate({"preprocessing": preprocessing})
    return prepare(resolve_pretraining(config, data.spec).config, data)


def fine_tuning(data: ArrayData, parent: Bundle | None) -> Run:
    """From scratch, or a probe on a parent's features, which heads standardise."""
    probe = {"kind": "linear_probe", "layer": "last", "solver": "gradient"}
    config = FineTuningConfig.model_validate({"heads": HEADS, "strategy": probe if parent else {"kind": "full"}})
    resolved = resolve_fine_tuning(config, data.spec, parent.manifest if parent else None)
    return prepare(resolved.config, data, parent=parent)


@pytest.mark.parametrize("choice", CHOICES)
def test_preprocessing_is_that_of_the_train_rows(choice: str) -> None:
    modality, preprocessing = CHOICES[choice]
    data = tiny.DATASETS[modality]()
    usual = pretraining(data, preprocessing).modality
    for split in (VALIDATION, TEST):
        assert pretraining(changed(data, split), preprocessing).modality == usual
    assert pretraining(changed(data, TRAIN), preprocessing).modality != usual


@pytest.mark.parametrize("modality", tiny.DATASETS)
@pytest.mark.parametrize("probe", [False, True])
def test_heads_know_targets_and_features_of_train_rows_alone(modality: ModalityKind, probe: bool) -> None:
    data = tiny.DATASETS[modality]()
    parent = pretraining(data, "auto").bundle() if probe else None
    usual = learned(fine_tuning(data, parent))
    assert learned(fine_tuning(changed(data, VALIDATION, TEST), parent)) == usual
    others = learned(fine_tuning(changed(data, TRAIN), parent))
    names = TARGETS | FEATURES if probe else TARGETS
    assert {name for name, values in others.items() if values != usual[name]} >= names


def learned(run: Run) -> dict[str, list[float]]:
    """What the heads keep of targets and features before the first step."""
    return {
        f"{key}.{name}": values.flatten().tolist()
        for key, head in run.bundle().heads.items()
        for name, values in head.named_buffers()
    }
