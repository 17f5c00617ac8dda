"""What a job works on: its dataset, a model, and the device that it asks for."""

import hashlib
import json
from pathlib import Path

import torch

from app.artifacts import link_files
from app.db.tables import DatasetRow, JobRow, ModelRow
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.models.bundle import Bundle, read_bundle
from worker.attempt.attempt import Attempt

_INPUT_FILES = ("inputs.npy", "text.npy", "offsets.npy")


def open_data(attempt: Attempt, job: JobRow, folder: Path) -> tuple[DatasetRow, ArrayData]:
    """Link the job's dataset into `folder`, and map it."""
    row = attempt.insist(lambda session: session.get_one(DatasetRow, job.dataset_id))
    return row, ArrayData.open(link_files(attempt.artifacts, row.files or {}, folder))


def open_beside(attempt: Attempt, config: PretrainingConfig | FineTuningConfig, folder: Path) -> ArrayData | None:
    """The rows of the other dataset that a config names; it is not deleted while the job is unfinished."""
    if config.auxiliary_dataset is None:
        return None
    _, dataset_id = config.auxiliary_dataset
    row = attempt.insist(lambda session: session.get_one(DatasetRow, dataset_id))
    return ArrayData.open(link_files(attempt.artifacts, row.files or {}, folder))


def open_model(attempt: Attempt, model_id: str, folder: Path, *, for_training: bool = False) -> Bundle:
    """Link a model into `folder`, and load it. Raises `CorruptModelError`."""
    row = attempt.insist(lambda session: session.get_one(ModelRow, model_id))
    return read_bundle(link_files(attempt.artifacts, row.files, folder), for_training=for_training)


def device_for(job: JobRow) -> torch.device:
    """Return the device that the job asks for; auto takes a GPU where there is one."""
    asked = job.config["resources"]["device"]
    if asked == "cuda" and not torch.cuda.is_available():
        msg = "this worker has no GPU: choose auto or cpu, or start a worker where one is"
        raise ConfigError(("resources", "device"), msg)
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(asked)


def rows_digest(dataset: DatasetRow) -> str:
    """What the stored rows are: their files, and how they are to be read."""
    files = {name: blob["sha256"] for name, blob in (dataset.files or {}).items() if name in _INPUT_FILES}
    spec = dataset.spec or {}
    meaning = {name: spec.get(name) for name in ("modality", "shape", "value_scale", "columns")}
    return hashlib.sha256(json.dumps([files, meaning], sort_keys=True).encode()).hexdigest()
