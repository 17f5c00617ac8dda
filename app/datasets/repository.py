"""SQL of datasets. Every query names the project."""

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import DatasetRow, JobRow
from app.jobs.states import TERMINAL
from app.kit.pages import Page, fetch_page


def find(
    session: Session, project_id: str, dataset_id: str, *, lock: bool = False, keep: bool = False
) -> DatasetRow | None:
    """Return a dataset of the project that is not deleted.

    Until the transaction ends no job for it begins where it is locked, and nobody locks it where it is kept.
    """
    query = select(DatasetRow).where(
        DatasetRow.id == dataset_id, DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None)
    )
    return session.scalar(query.with_for_update(read=keep) if lock or keep else query)


def page(
    session: Session, project_id: str, asked: Page, status: str | None, name: str | None
) -> tuple[list[DatasetRow], bool]:
    """Return one page of the project's datasets, and whether more follow."""
    query = select(DatasetRow).where(DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None))
    if status is not None:
        query = query.where(DatasetRow.status == status)
    if name is not None:
        query = query.where(DatasetRow.name == name)
    return fetch_page(session, query, DatasetRow.id, asked)


def job_using(session: Session, project_id: str, dataset_id: str) -> str | None:
    """Return an unfinished job that reads the dataset, as its own or beside it."""
    jobs = select(JobRow.id, JobRow.dataset_id, JobRow.config)
    unfinished = session.execute(jobs.where(JobRow.project_id == project_id, JobRow.status.not_in(TERMINAL)))
    return next((job for job, own, config in unfinished if dataset_id == own or _reads(config, dataset_id)), None)


def _reads(config: dict[str, Any], dataset_id: str) -> bool:
    """Whether a part of a job's config, or of the base of a sweep, names the dataset."""
    parts = [*config.values(), *(config.get("base") or {}).values()]
    return any(part.get("dataset") == dataset_id for part in parts if isinstance(part, dict))


def mark_deleted(session: Session, project_id: str, dataset_id: str) -> None:
    """Hide the dataset; garbage collection takes its bytes."""
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id, DatasetRow.project_id == project_id)
        .values(deleted_at=db_now())
    )
