"""Datasets as requests name them: this module alone says that there is no such dataset, or that it cannot be read."""

import hashlib
import json

from sqlalchemy.orm import Session

from app.datasets import repository
from app.datasets.repository import DatasetRow
from app.datasets.shard_cache import shard_of
from app.errors import ConflictError, NotFoundError
from app.kit.ids import is_id
from app.ml.data.stored_rows import INPUT_FILES
from app.ml.spec import DataSpec

NO_SUCH_DATASET = "there is no such dataset in this project"


def find_dataset(session: Session, project_id: str, ref: str, *, lock: bool = False, keep: bool = False) -> DatasetRow:
    """Return the dataset that an id or a name means; a name means the newest ready dataset of that name.

    Where none of that name is ready, it means the newest, so that the caller hears why it cannot be read. `lock` keeps
    jobs that read it from being queued until the transaction ends, `keep` keeps it from being deleted.

    Raises:
        NotFoundError: there is none, or it belongs to another project.
    """
    dataset_id = ref if is_id(ref, "ds") else repository.newest_id(session, project_id, ref)
    row = None if dataset_id is None else repository.find(session, project_id, dataset_id, lock=lock, keep=keep)
    if row is None:
        msg = f"{NO_SUCH_DATASET.capitalize()}."
        raise NotFoundError(msg, code="dataset_not_found")
    return row


def dataset_ids_ever(session: Session, project_id: str, ref: str) -> list[str]:
    """Return the ids of the datasets, deleted ones too, that have this id or this name.

    Raises:
        NotFoundError: the project never had any.
    """
    ids = repository.ids_ever(session, project_id, ref)
    if not ids:
        msg = f"{NO_SUCH_DATASET.capitalize()}."
        raise NotFoundError(msg, code="dataset_not_found")
    return ids


def ready_spec(row: DatasetRow) -> DataSpec:
    """Return the description of a prepared dataset.

    Raises:
        ConflictError: its preparation failed, or has not ended yet.
    """
    if row.status != "ready" or row.spec is None:
        raise not_ready(row)
    return DataSpec.model_validate(row.spec)


def not_ready(row: DatasetRow) -> ConflictError:
    """Return the error that says why a dataset cannot be read, now or ever."""
    if row.status == "failed":
        msg = "The preparation of this dataset failed; its `error` says why."
        return ConflictError(msg, code="dataset_failed")
    return ConflictError("This dataset is still being prepared; follow its job.", code="dataset_not_ready")


def is_input(name: str) -> bool:
    """Return whether a file of a dataset holds inputs, of all rows or of a shard."""
    return name in INPUT_FILES or shard_of(name) is not None


def rows_digest(dataset: DatasetRow) -> str:
    """Return a digest of what the stored rows are: their files, and how they are to be read."""
    files = {name: blob["sha256"] for name, blob in (dataset.files or {}).items() if is_input(name)}
    spec = dataset.spec or {}
    meaning = {name: spec.get(name) for name in ("modality", "shape", "value_scale", "columns")}
    return hashlib.sha256(json.dumps([files, meaning], sort_keys=True).encode()).hexdigest()
