"""Labels of mixed rows count by the shares of the inputs: read off the mixed inputs, and computed in another way."""

from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Batch, Rows
from app.ml.kinds.supervision.base import JointObjective
from app.ml.models.assembly import FineTuning
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ColumnSpec, ModalityKind
from tests.support import tiny
from worker.training.run import prepare

ROWS = 6
MLP = {"kind": "mlp", "hidden": [8]}
MIXUP, CUTMIX = {"kind": "mixup", "alpha": 1.0}, {"kind": "cutmix", "alpha": 1.0}
CASES: list[tuple[ModalityKind, dict[str, Any]]] = [("table", MIXUP), ("image", MIXUP), ("image", CUTMIX)]
SEEDS = range(8)


def rows_of(shape: tuple[int, ...], kind: str) -> Batch:
    """Rows of which each is 1 at a place of its own or, where pixels are pasted, has a gray of its own."""
    values = int(np.prod(shape))
    if kind == "cutmix":
        inputs = (torch.arange(ROWS) / (ROWS - 1))[:, None].expand(ROWS, values)
    else:
        inputs = torch.eye(ROWS, values)
    return Batch(inputs.reshape(ROWS, *shape).clone(), {"label": torch.arange(ROWS) % len(tiny.CLASSES)})


def shares(rows: Batch, mixed: Batch, kind: str) -> Rows:
    """(B, B): how much of the input of each mixed row is of each row, read off the inputs alone."""
    before, after = (batch.inputs.flatten(1).double().numpy() for batch in (rows, mixed))
    if kind == "cutmix":
        owners = np.abs(after[:, :, None] - before[:, 0]).argmin(2)
        return np.stack([np.bincount(row, minlength=ROWS) / len(row) for row in owners])
    return np.linalg.lstsq(before.T, after.T, rcond=None)[0].T


def expected(logits: torch.Tensor, rows: Batch, share: Rows) -> float:
    """The mean over rows b of the sum over rows j of share_bj (- log p_b(class of j)), in float64."""
    values = logits.detach().double().numpy()
    log_p = values - np.log(np.exp(values).sum(1, keepdims=True))
    return float(-(share * log_p[:, rows.targets["label"].numpy()]).sum(1).mean())


def data_of(modality: ModalityKind) -> ArrayData:
    """Tables have six numbers here, so that six rows can differ."""
    data = tiny.DATASETS[modality]()
    if modality != "table":
        return data
    columns = tuple(ColumnSpec(name=f"c{number}", type="number") for number in range(ROWS))
    inputs = np.random.default_rng(0).normal(size=(len(data.inputs), ROWS)).astype(np.float32)
    spec = data.spec.model_copy(update={"shape": (ROWS,), "columns": columns})
    return ArrayData(spec, inputs, data.targets, data.split)


@pytest.mark.parametrize(("modality", "mixing"), CASES)
def test_a_fine_tuning_counts_labels_by_the_shares_of_the_inputs(
    modality: ModalityKind, mixing: dict[str, Any]
) -> None:
    data = data_of(modality)
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": {"kind": "full"}, "backbone": MLP}
    config = FineTuningConfig.model_validate({**request, "augmentations": [mixing]})
    objective = prepare(resolve_fine_tuning(config, data.spec, None).config, data).state.objective
    assert isinstance(objective, FineTuning)
    rows = rows_of(objective.backbone.input_shape, mixing["kind"])
    for seed in SEEDS:
        torch.manual_seed(seed)
        mixed = objective.augmented(rows)
        share = shares(rows, mixed, mixing["kind"])
        assert share.sum(1) == pytest.approx(np.ones(ROWS), abs=1e-5)
        wanted = expected(objective.outputs(mixed.inputs)[0], rows, share)
        torch.manual_seed(seed)
        assert objective.training_loss(rows)["loss"].item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(("modality", "mixing"), CASES)
def test_labels_that_join_a_pretraining_count_by_the_shares_of_the_inputs(
    modality: ModalityKind, mixing: dict[str, Any]
) -> None:
    data = data_of(modality)
    request = {"method": {"kind": "autoencoder"}, "backbone": MLP, "labels": {"kind": "supervised", "target": "label"}}
    config = PretrainingConfig.model_validate({**request, "augmentations": [mixing]})
    objective = prepare(resolve_pretraining(config, data.spec).config, data).state.objective
    assert isinstance(objective, JointObjective)
    rows = rows_of(objective.backbone.input_shape, mixing["kind"])
    for seed in SEEDS:
        torch.manual_seed(seed)
        mixed = objective.augmented(rows)
        logits = objective.term(objective.backbone(mixed.inputs))
        wanted = expected(logits, rows, shares(rows, mixed, mixing["kind"]))
        assert objective.loss(mixed)["labels"].item() == pytest.approx(wanted, rel=1e-4)
