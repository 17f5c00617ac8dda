"""Datasets as requests name them: this module alone says that there is no such dataset, or that it cannot be read."""

from sqlalchemy.orm import Session

from app.datasets import repository
from app.datasets.repository import DatasetRow
from app.errors import ConflictError, NotFoundError
from app.ml.spec import DataSpec

NO_SUCH_DATASET = "there is no such dataset in this project"


def find_dataset(session: Session, project_id: str, dataset_id: str, *, lock: bool = False) -> DatasetRow:
    """Return a dataset of the project; `lock` keeps jobs that read it from being queued until the transaction ends.

    Raises:
        NotFoundError: there is none, or it belongs to another project.
    """
    row = repository.find(session, project_id, dataset_id, lock=lock)
    if row is None:
        msg = f"{NO_SUCH_DATASET.capitalize()}."
        raise NotFoundError(msg, code="dataset_not_found")
    return row


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
