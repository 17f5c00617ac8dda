"""Small registered models, made without any training."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from app.artifacts import put_blob
from app.db.tables import ModelRow
from app.dependencies import Services
from app.ml.configs.learning import FineTuningConfig
from app.ml.kinds.backbones.mlp import ResolvedMlp
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.methods.autoencoder import Autoencoder
from app.ml.kinds.modalities.columns import NumberColumn
from app.ml.kinds.modalities.image import ImageModality
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.preprocessing.image import ImagePreprocessing
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.models.bundle import Bundle, HeadEntry, Manifest, json_of, read_manifest, save_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import ModalityKind, TargetSpec
from app.models.service import register
from tests.support import tiny
from worker.training.model_selection.automatic import prepare

COLUMNS = ("width", "height", "depth")
CLASSES = ("large", "small")


def make_bundle(*, heads: bool = True, seed: int = 0, gain: float = 1.0, classes: tuple[str, ...] = CLASSES) -> Bundle:
    """A table model with three columns and, if asked for, one head of such classes; weights are random.

    Its features are `gain` times as large as usual.
    """
    torch.manual_seed(seed)
    table = TableModality(columns=tuple(NumberColumn(name=name) for name in COLUMNS))
    mlp = ResolvedMlp(hidden=(4,))
    target = TargetSpec(name="size", type="category", classes=classes)
    entries = (HeadEntry(config=Classifier(target="size"), targets=(target,)),) if heads else ()
    manifest = Manifest(
        kind="fine_tuned" if heads else "backbone",
        preprocessing=TablePreprocessing(),
        modality=table,
        backbone=mlp,
        encoding=table.encoding,
        features=4,
        heads=entries,
        method=None if heads else Autoencoder(),
        strategy=ResolvedLinearProbe(solver="exact", layer="last") if heads else None,
    )
    built = {entry.config.key: entry.config.build(4, entry.targets).eval() for entry in entries}
    backbone = mlp.build(table.encoding).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(gain)
    return Bundle(manifest, backbone, built)


def make_image_bundle(height: int, width: int, channels: int = 1) -> Bundle:
    """A backbone of random weights for pictures of one size."""
    torch.manual_seed(0)
    image, mlp = ImageModality(height=height, width=width, channels=channels), ResolvedMlp(hidden=(4,))
    manifest = Manifest(
        kind="backbone",
        preprocessing=ImagePreprocessing(),
        modality=image,
        backbone=mlp,
        encoding=image.encoding,
        features=4,
        method=Autoencoder(),
    )
    return Bundle(manifest, mlp.build(image.encoding).eval(), {})


_BACKBONES = {"image": "mlp", "table": "mlp", "series": "gru", "text": "gru"}
_HEADS = [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}]


def bundle_of(modality: ModalityKind) -> Bundle:
    """An untrained model for the tiny rows of a modality, which answers a class and a number."""
    data = tiny.DATASETS[modality]()
    request = {"backbone": {"kind": _BACKBONES[modality]}, "heads": _HEADS, "strategy": {"kind": "full"}}
    config = FineTuningConfig.model_validate({**request, "training": {"epochs": 1}})
    bundle = prepare(resolve_fine_tuning(config, data.spec, None).config, data).bundle()
    for module in (bundle.backbone, *bundle.heads.values()):
        module.eval()
    return bundle


def add_model(services: Services, project_id: str, name: str, *, heads: bool = True, **fields: Any) -> ModelRow:
    """Register such a model as the next version of `name`, as a worker does."""
    chosen = {key: fields.pop(key) for key in ("seed", "gain") if key in fields}
    return add_bundle(services, project_id, name, make_bundle(heads=heads, **chosen), **fields)


def add_bundle(services: Services, project_id: str, name: str, bundle: Bundle, **fields: Any) -> ModelRow:
    """Register any model as the next version of `name`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = save_bundle(folder, bundle)
        manifest = json_of(read_manifest(folder))
        files = {name: put_blob(services.artifacts, folder / name).model_dump() for name in names}
    with services.database.writing() as session:
        defaults = {"job_id": None, "dataset_id": None, "parent_id": None, "metrics": {"val/accuracy": 0.9}}
        return register(
            session,
            project_id=project_id,
            name=name,
            kind=manifest["kind"],
            manifest=manifest,
            files=files,
            **{**defaults, **fields},
        )
