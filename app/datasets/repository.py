"""SQL of datasets. Every query names the project."""

import time
from typing import Any
from unicodedata import normalize

from sqlalchemy import ColumnElement, Text, case, cast, select, true, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import DatasetRow, JobRow
from app.jobs.states import LIVING
from app.kit.ids import new_id
from app.kit.pages import Page, fetch_page
from app.webhooks import outbox

__all__ = ["DatasetRow"]  # services know the type of a row from here


def add(session: Session, **columns: Any) -> DatasetRow:
    """Insert a dataset that is still to be prepared."""
    row = DatasetRow(id=new_id("ds"), status="preparing", created_at=time.time(), **columns)
    session.add(row)
    session.flush()
    return row


def find(
    session: Session, project_id: str, dataset_id: str, *, lock: bool = False, keep: bool = False
) -> DatasetRow | None:
    """Return a dataset of the project that is not deleted.

    With `lock`, no other transaction locks or keeps the row until this one ends, so that no job for it begins; with
    `keep`, none locks it.
    """
    query = select(DatasetRow).where(
        DatasetRow.id == dataset_id, DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None)
    )
    return session.scalar(query.with_for_update(read=keep) if lock or keep else query)


def newest_id(session: Session, project_id: str, name: str) -> str | None:
    """Return the id of the newest ready dataset of a name; where none is ready, of the newest."""
    query = select(DatasetRow.id).where(DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None))
    is_ready = case((DatasetRow.status == "ready", 1), else_=0)
    return session.scalar(query.where(_named(name)).order_by(is_ready.desc(), DatasetRow.id.desc()).limit(1))


def ids_ever(session: Session, project_id: str, ref: str) -> list[str]:
    """Return the ids of the datasets, deleted ones too, that have this id or name."""
    query = select(DatasetRow.id).where(DatasetRow.project_id == project_id, (DatasetRow.id == ref) | _named(ref))
    return list(session.scalars(query))


def names_before(session: Session, project_id: str, dataset_id: str) -> list[str]:
    """Return the names of the datasets, deleted ones too, that are older than this one."""
    return list(
        session.scalars(
            select(DatasetRow.name).where(DatasetRow.project_id == project_id, DatasetRow.id < dataset_id).distinct()
        )
    )


def _named(name: str) -> ColumnElement[bool]:
    """Names of earlier releases may be written with combining characters, today's are not."""
    return DatasetRow.name.in_({name, normalize("NFC", name)})


def page(
    session: Session, project_id: str, page_query: Page, status: str | None, name: str | None
) -> tuple[list[DatasetRow], bool]:
    """Return one page of the project's datasets, and whether more follow it."""
    query = select(DatasetRow).where(DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None))
    if status is not None:
        query = query.where(DatasetRow.status == status)
    if name is not None:
        query = query.where(_named(name))
    return fetch_page(session, query, DatasetRow.id, page_query)


def job_using(session: Session, project_id: str, dataset_id: str) -> str | None:
    """Return the id of an unfinished job that reads the dataset, as its own or as a further one."""
    names_it = (JobRow.dataset_id == dataset_id) | cast(JobRow.config, Text).contains(dataset_id)
    jobs = select(JobRow.id, JobRow.dataset_id, JobRow.config).where(names_it)
    unfinished = session.execute(jobs.where(JobRow.project_id == project_id, JobRow.status.in_(LIVING)))
    return next((job for job, own_id, config in unfinished if dataset_id == own_id or _reads(config, dataset_id)), None)


def _reads(config: dict[str, Any], dataset_id: str) -> bool:
    """Return whether a part of a job's config, or of the base of a sweep, names the dataset."""
    parts = [*config.values(), *(config.get("base") or {}).values()]
    return any(part.get("dataset") == dataset_id for part in parts if isinstance(part, dict))


def mark_deleted(session: Session, project_id: str, dataset_id: str) -> None:
    """Hide the dataset; garbage collection removes its files later."""
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id, DatasetRow.project_id == project_id)
        .values(deleted_at=db_now())
    )


def get(session: Session, dataset_id: str | None) -> DatasetRow:
    """Return the dataset that a job names, deleted or not."""
    return session.get_one(DatasetRow, dataset_id)


def find_ever(session: Session, dataset_id: str) -> DatasetRow | None:
    """Return a dataset that a model names, deleted or not; None where its row is gone."""
    return session.get(DatasetRow, dataset_id)


def mark_preparing(session: Session, dataset_id: str | None, job_id: str) -> None:
    """Note that the job that prepares a dataset begins once more; other jobs own no dataset."""
    change = update(DatasetRow).where(DatasetRow.id == dataset_id, DatasetRow.job_id == job_id)
    session.execute(change.values(status="preparing", error=None).execution_options(synchronize_session=False))


def mark_failed(session: Session, dataset_id: str | None, job_id: str, error: dict[str, Any]) -> None:
    """Note that the job that prepares a dataset has ended without success, unless the dataset says why by itself."""
    own = (DatasetRow.job_id == job_id) & (DatasetRow.status == "preparing")
    _end(session, dataset_id, own, status="failed", error=error)


def save_error(session: Session, dataset_id: str, error: dict[str, Any]) -> None:
    """Keep why a preparation failed, with the places in the upload."""
    _end(session, dataset_id, DatasetRow.status != "failed", status="failed", error=error)


def save_prepared(
    session: Session, dataset_id: str, *, spec: dict[str, Any], report: dict[str, Any], files: dict[str, Any]
) -> None:
    """Keep what a preparation made; the dataset is ready."""
    ready = {"status": "ready", "spec": spec, "report": report, "files": files, "prepared_at": db_now()}
    _end(session, dataset_id, true(), **ready)


def _end(session: Session, dataset_id: str | None, which: ColumnElement[bool], **values: Any) -> None:
    """Change a dataset to ready or failed, if it is as the condition says, and queue the messages about it."""
    change = update(DatasetRow).where(DatasetRow.id == dataset_id, which).values(**values).returning(DatasetRow.id)
    changed = session.execute(change.execution_options(synchronize_session=False)).scalar_one_or_none()
    if changed is not None:
        outbox.dataset_ended(session, changed)
