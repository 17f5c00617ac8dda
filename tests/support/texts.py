"""Language models over a few texts, for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import SPLITS, DataSpec, Split, TargetSpec
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run

CHARACTERS = {"kind": "text", "tokenizer": "character"}
SMALL = {"kind": "transformer", "width": 32, "depth": 2, "heads": 2}


def text_data(
    texts: Sequence[str], split: Sequence[int] | None = None, labels: Sequence[str] | None = None, **fields: Any
) -> ArrayData:
    """A dataset of texts, all of them to train on unless told otherwise."""
    inputs = np.empty(len(texts), dtype=object)
    inputs[:] = texts
    splits = np.array(split if split is not None else [0] * len(texts), np.uint8)
    counts: dict[Split, int] = {name: int((splits == code).sum()) for code, name in enumerate(SPLITS)}
    targets: tuple[TargetSpec, ...] = ()
    values = np.empty((len(texts), 0))
    if labels is not None:
        classes = tuple(sorted(set(labels)))
        targets = (TargetSpec(name="label", type="category", classes=classes),)
        values = np.array([[classes.index(label)] for label in labels], dtype=np.float64)
    spec = DataSpec(modality="text", shape=(max(map(len, texts)),), targets=targets, rows=counts, **fields)
    return ArrayData(spec, inputs, values, splits)


def run_of(data: ArrayData, request: dict[str, Any], parent: Bundle | None = None, *, train: bool = True) -> Run:
    """A run of a request, trained to its end."""
    if "heads" in request:
        wanted = FineTuningConfig.model_validate(request)
        resolved: Any = resolve_fine_tuning(wanted, data.spec, parent.manifest if parent else None)
    else:
        resolved = resolve_pretraining(PretrainingConfig.model_validate(request), data.spec)
    run = prepare(resolved.config, data, parent=parent)
    for _ in run.train() if train else ():
        pass
    return run
