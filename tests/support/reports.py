"""Fine-tunings with a transfer report, without a service; and cases of which it is known what pretraining is worth."""

from functools import cache
from typing import Any

import numpy as np
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import DataSpec
from tests.support import digits
from worker.training.events import Note
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run
from worker.training.transfer_report.controlled_comparison import ControlledComparison

HEADS = [{"kind": "classifier", "target": "label"}]
MLP = {"kind": "mlp", "hidden": [64, 24]}
RESNET = {"kind": "resnet", "widths": [16, 32], "stem": "small"}
WIDE = {"kind": "mlp", "hidden": [512]}
CASES = {"taught": 4, "unlabelled": 2, "fresh": 2, "shuffled": 4, "noise": 4, "labels": 4}  # labels of each digit
_TAUGHT = 1000  # of the 1,200 train rows the last so many teach a backbone; labels are drawn from the others


def report_on(
    data: ArrayData, parent: Bundle, request: dict[str, Any], report: dict[str, Any]
) -> tuple[dict[str, Any], list[Note]]:
    """Train what is requested, and return its report and what it noted."""
    config = FineTuningConfig.model_validate({**request, "transfer_report": report})
    run = trained(prepare(resolve_fine_tuning(config, data.spec, parent.manifest).config, data, parent=parent))
    comparison = ControlledComparison(run, parent)
    notes = [event for event in comparison.run() if isinstance(event, Note)]
    return comparison.result, notes


def case(name: str, draw: int, rounds: int) -> dict[str, Any]:
    """The report on one of `CASES`, with another draw of rows and labels each time."""
    data = digits.few_labels(draw, CASES[name])
    parents = {
        "unlabelled": lambda: unlabelled(data),
        "fresh": lambda: fresh(data, draw),
        "shuffled": lambda: shuffled(taught(draw), draw),
        "noise": lambda: noise(draw),
    }
    parent = parents.get(name, lambda: taught(draw))()
    if name == "labels":
        known = np.flatnonzero(np.isfinite(data.targets[:, 0]))
        data.targets[known, 0] = data.targets[np.random.default_rng(draw).permutation(known), 0]
    request = {"heads": HEADS, "strategy": {"kind": "linear_probe", "layer": "last"}}
    found, _ = report_on(data, parent, request, {"rounds": rounds, "measured_on": "test", "budget_seconds": 30_000})
    return found


@cache
def taught(draw: int) -> Bundle:
    """A backbone that has learned the labels of the draw's later train rows."""
    data = digits.few_labels(draw, CASES["taught"])
    every = digits.few_labels(draw, digits.TRAIN)
    rows = np.arange(digits.TRAIN)
    others = (rows >= digits.TRAIN - _TAUGHT) & np.isnan(data.targets[rows, 0])
    labels = np.full_like(every.targets, np.nan)
    labels[rows[others]] = every.targets[rows[others]]
    counts = {"train": int(others.sum()), "validation": 0, "test": 0}
    spec = every.spec.model_copy(update={"labelled": {"label": counts}})
    request = {"heads": HEADS, "backbone": MLP, "training": {"epochs": 60, "batch_size": 32}}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), spec, None).config
    return trained(prepare(config, ArrayData(spec, every.inputs, labels, every.split))).bundle()


def unlabelled(data: ArrayData) -> Bundle:
    """A backbone that has compared views of the 1,200 train rows, without a label."""
    return trained(
        _pretraining(data, {"backbone": RESNET, "method": {"kind": "simclr"}, "training": {"epochs": 40}})
    ).bundle()


def fresh(data: ArrayData, seed: int) -> Bundle:
    """New weights of a network so wide that untrained it is worth about as much as the raw rows."""
    training = {"epochs": 1, "seed": 1000 + seed}
    return _pretraining(data, {"backbone": WIDE, "method": {"kind": "autoencoder"}, "training": training}).bundle()


def shuffled(parent: Bundle, seed: int) -> Bundle:
    """The same numbers in every tensor, at other places."""
    generator = torch.Generator().manual_seed(seed)
    backbone = parent.manifest.backbone.build(parent.manifest.encoding)
    backbone.load_state_dict(
        {
            name: value.flatten()[torch.randperm(value.numel(), generator=generator)].view_as(value)
            for name, value in parent.backbone.state_dict().items()
        }
    )
    return Bundle(parent.manifest, backbone, {})


def noise(seed: int) -> Bundle:
    """A backbone that was pretrained on images of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (800, 8, 8, 1)).astype(np.uint8)
    spec = DataSpec(modality="image", shape=(8, 8, 1), rows={"train": 800, "validation": 0, "test": 0})
    data = ArrayData(spec, pixels, np.empty((800, 0)), np.zeros(800, np.uint8))
    request = {"backbone": MLP, "method": {"kind": "autoencoder"}, "training": {"epochs": 10}}
    return trained(_pretraining(data, request)).bundle()


def _pretraining(data: ArrayData, request: dict[str, Any]) -> Run:
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


def trained(run: Run) -> Run:
    """Train it to its end."""
    for _ in run.train():
        pass
    return run
