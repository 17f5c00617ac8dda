"""The trainings by which the contract suite compares two ranks with one process: every registered kind, and more."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.ml.data.arrays import ArrayData
from app.ml.interfaces import ModalityKind
from tests.contracts import test_every_kind as every_kind
from tests.support import tiny
from worker.training.run import Run

# 36 train rows, or 29 with a label: shards of 4 and 3 rows, and a last batch of one, which leaves a rank without any.
TRAINING = {
    "batch_size": 7,
    "epochs": 1,
    "optimizer": {"kind": "sgd", "lr": 0.01},
    "clip_grad_norm": 1.0,
    "precision": "float32",
}


@dataclass(frozen=True)
class SharingCase:
    """A training in which nothing drops out: dropout is what each rank draws by itself."""

    modality: ModalityKind
    request: dict[str, Any]
    from_parent: bool = False

    def run(self) -> Run:
        data = with_few_labels(tiny.DATASETS[self.modality](48))
        parent = every_kind.pretrained(self.modality) if self.from_parent else None
        training = {**TRAINING, **self.request.get("training", {})}
        return every_kind.make_run(data, {**without_dropout(self.request), "training": training}, parent)


def without_dropout(request: Any) -> Any:
    if isinstance(request, dict):
        return {name: 0.0 if name == "dropout" else without_dropout(value) for name, value in request.items()}
    return request


def with_few_labels(data: ArrayData) -> ArrayData:
    """The same rows, of which seven train rows lack each target: shards of a batch carry different numbers of labels.

    Those that lack the first one are of one class, which so is rarer than the others.
    """
    targets = data.targets.copy()
    rows = np.flatnonzero(data.split == 0)
    targets[rows[targets[rows, 0] == 0][:7], 0] = np.nan
    for column in range(1, targets.shape[1]):
        targets[rows[column::4][:7], column] = np.nan
    return ArrayData(data.spec, data.inputs, targets, data.split)


MLP, CLASSIFY = {"kind": "mlp"}, {"kind": "classifier", "target": "label"}
CONVNET, RESNET = {"kind": "convnet"}, {"kind": "resnet", "widths": [4, 8], "stem": "small"}
SIZE = {"kind": "regressor", "target": "size"}
FULL = {"strategy": {"kind": "full"}}
MIXED = {"heads": [CLASSIFY, SIZE], **FULL, "augmentations": [{"kind": "mixup"}]}


def _autoencoder(kind: str) -> dict[str, Any]:
    return {"backbone": MLP, "method": {"kind": "autoencoder", "regularizer": {"kind": kind}}}


OPTIONS: dict[str, SharingCase] = {
    **{
        f"options-autoencoder_{kind}": SharingCase("image", _autoencoder(kind))
        for kind in ("l1", "l2", "contractive", "sparse")
    },
    "options-free_bits": SharingCase("table", {"backbone": MLP, "method": {"kind": "vae", "free_bits": 0.1}}),
    **{
        f"options-corruption_{kind}": SharingCase(
            "series", {"method": {"kind": "denoising_autoencoder", "emphasis": 2, "corruption": {"kind": kind}}}
        )
        for kind in ("noise", "mask", "swap")
    },
    "options-batch_norm": SharingCase("image", {"backbone": RESNET, "heads": [CLASSIFY], **FULL}),
    "options-simclr_batch_norm": SharingCase("image", {"backbone": RESNET, "method": {"kind": "simclr"}}),
    "options-class_weights": SharingCase(
        "table", {"backbone": MLP, "heads": [{**CLASSIFY, "class_weights": "balanced"}], **FULL}
    ),
    "options-gaussian_regressor": SharingCase(
        "table", {"backbone": MLP, "heads": [{"kind": "regressor", "target": ["size"], "loss": "gaussian"}], **FULL}
    ),
    "options-mixup_of_two_heads": SharingCase("table", {"backbone": MLP, **MIXED}),
    "options-mixup_with_pcgrad": SharingCase("image", {"backbone": CONVNET, **MIXED, "balancing": {"kind": "pcgrad"}}),
    "options-labels_of_mixed_rows": SharingCase(
        "image",
        {
            "backbone": MLP,
            "method": {"kind": "vae"},
            "labels": {"kind": "supervised", "target": "label", "rows": 5},
            "augmentations": [{"kind": "cutmix"}],
        },
    ),
    "options-views_and_labels": SharingCase(
        "table",
        {
            "backbone": MLP,
            "method": {"kind": "vicreg"},
            "labels": {"kind": "contrastive", "target": "label", "rows": 7},
        },
    ),
    "options-generator_and_head": SharingCase(
        "text", {"backbone": {"kind": "lstm", "width": 16}, "heads": [{"kind": "generator"}, CLASSIFY], **FULL}
    ),
    "options-gradient_probe": SharingCase(
        "image", {"heads": [CLASSIFY], "strategy": {"kind": "linear_probe", "solver": "gradient"}}, from_parent=True
    ),
}
# Chaotic: forty normalisations over few rows of one pixel make a last bit of a weight a third of the loss in ten steps.
SLOW: dict[str, Any] = {"training": {"optimizer": {"kind": "sgd", "lr": 1e-5}, "batch_size": 10}}
CASES = {
    **{
        name: SharingCase(case.modality, {**case.request, **(SLOW if "efficientnet" in name else {})}, case.from_parent)
        for name, case in every_kind.CASES.items()
    },
    **OPTIONS,
}
