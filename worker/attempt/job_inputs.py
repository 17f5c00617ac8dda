"""What a job works on: its dataset, a model, and the device that it asks for."""

from pathlib import Path

import torch

from app.artifacts import link_files
from app.datasets import repository as datasets
from app.datasets.opening import link_dataset
from app.datasets.repository import DatasetRow
from app.datasets.shard_cache import ShardCache
from app.jobs.repository import JobRow
from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.data.arrays import ArrayData
from app.ml.data.stored_rows import WINDOW_SHARDS, ShardFiles
from app.ml.errors import ConfigError
from app.ml.models.bundle import Bundle, read_bundle
from app.models import repository as models
from worker.attempt.attempt import Attempt
from worker.attempt.context import JobContext


def open_data(context: JobContext) -> tuple[DatasetRow, ArrayData]:
    """Link the job's dataset into the folder `data`, and map it; return its row and its arrays."""
    return _open_dataset(context, context.job.dataset_id, "data")


def open_auxiliary(context: JobContext, config: ResolvedPretraining | ResolvedFineTuning) -> ArrayData | None:
    """Map the other dataset that a config names; it is not deleted while the job is unfinished."""
    if config.auxiliary_dataset is None:
        return None
    _, dataset_id = config.auxiliary_dataset
    return _open_dataset(context, dataset_id, "auxiliary")[1]


def link_data(context: JobContext) -> None:
    """Link the job's dataset into the folder `data`, for other processes."""
    _link_dataset(context, context.job.dataset_id, "data")


def _open_dataset(context: JobContext, dataset_id: str | None, folder: str) -> tuple[DatasetRow, ArrayData]:
    row, linked, shards = _link_dataset(context, dataset_id, folder)
    return row, ArrayData.open(linked, shards)


def _link_dataset(
    context: JobContext, dataset_id: str | None, folder: str
) -> tuple[DatasetRow, Path, ShardFiles | None]:
    row = context.attempt.commit_with_retry(lambda session: datasets.get(session, dataset_id))
    path, max_bytes = context.folder / folder, context.settings.shard_cache_bytes
    shards = link_dataset(context.attempt.artifacts, row.files or {}, path, max_bytes)
    if isinstance(shards, ShardCache):
        _check_cache(context.job, shards, max_bytes)
    return row, path, shards


def _check_cache(job: JobRow, cache: ShardCache, max_bytes: int) -> None:
    """Refuse what the cache of shards is too small for."""
    size, held = f"{cache.bytes} bytes of inputs", f"GRAFTWORK_SHARD_CACHE_BYTES is {max_bytes} on this worker"
    if job.devices * job.nodes > 1:
        msg = f"the dataset has {size} and {held}: train on one device, or raise the setting to that size"
        raise ConfigError(("resources", "devices" if job.devices > 1 else "nodes"), msg)
    least = (WINDOW_SHARDS + 1) * cache.largest
    if max_bytes < least:
        msg = f"the dataset has {size} in shards and {held}: raise that setting to {least}, where the disk has room"
        raise ConfigError(("dataset",), msg)


def open_model(attempt: Attempt, model_id: str, folder: Path, *, for_training: bool = False) -> Bundle:
    """Link a model into `folder`, and load it. Raises `CorruptModelError`."""
    return read_bundle(link_model(attempt, model_id, folder), for_training=for_training)


def link_model(attempt: Attempt, model_id: str, folder: Path) -> Path:
    """Link a model's files into `folder`, and return it."""
    row = attempt.commit_with_retry(lambda session: models.get(session, model_id))
    return link_files(attempt.artifacts, row.files, folder)


def device_for(job: JobRow, of_gang: str | None = None) -> torch.device:
    """Return the device that the job asks for, or its gang has settled on; auto takes a GPU where there is one."""
    device = of_gang or job.config["resources"]["device"]
    if device == "cuda" and not torch.cuda.is_available():
        msg = "this worker has no GPU: choose auto or cpu, or start a worker where one is"
        raise ConfigError(("resources", "device"), msg)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
