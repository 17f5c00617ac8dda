"""SQL of the files that rows name: a file stays if and only if a row names it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.artifacts import blob_key
from app.db.session import db_now
from app.db.tables import CheckpointRow, DatasetRow, JobRow, ModelRow, TrialRow
from app.jobs.attempts import folder_name
from app.jobs.states import LEASED

Kind = Literal["datasets", "models", "checkpoints", "job_files", "deleted"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A row that names a file; `deleted` are datasets and models within their grace."""

    key: str
    bytes: int
    kind: Kind
    row: str


def references(session: Session, grace: float, project_id: str | None = None) -> Iterator[Reference]:
    """Yield the files that rows name, of one project or of all; a deleted row names its files for `grace` seconds."""
    yield from _datasets(session, grace, project_id)
    yield from _models(session, grace, project_id)
    yield from _checkpoints(session, project_id)
    yield from _job_files(session, project_id)


def attempts_under_way(session: Session) -> dict[str, str]:
    """Return the job id of each attempt that holds a lease, by the name of the attempt's folder."""
    leased = session.execute(select(JobRow.id, JobRow.token).where(JobRow.status.in_(list(LEASED))))
    return {folder_name(job_id, token): job_id for job_id, token in leased}


def _of(column: InstrumentedAttribute[str], project_id: str | None) -> ColumnElement[bool]:
    return true() if project_id is None else column == project_id


def _kept(column: InstrumentedAttribute[float | None], grace: float) -> ColumnElement[bool]:
    return or_(column.is_(None), column > db_now() - grace)


def _files(files: Mapping[str, Any] | None, kind: Kind, row: str) -> Iterator[Reference]:
    for blob in (files or {}).values():
        yield Reference(blob_key(blob["sha256"]), blob["bytes"], kind, row)


def _datasets(session: Session, grace: float, project_id: str | None) -> Iterator[Reference]:
    columns = (DatasetRow.id, DatasetRow.source_sha256, DatasetRow.source_bytes, DatasetRow.files)
    conditions = _of(DatasetRow.project_id, project_id), _kept(DatasetRow.deleted_at, grace)
    query = select(*columns, DatasetRow.deleted_at).where(*conditions)
    for row, sha256, size, files, deleted in session.execute(query):
        kind: Kind = "datasets" if deleted is None else "deleted"
        yield Reference(blob_key(sha256), size, kind, row)
        yield from _files(files, kind, row)


def _models(session: Session, grace: float, project_id: str | None) -> Iterator[Reference]:
    conditions = _of(ModelRow.project_id, project_id), _kept(ModelRow.deleted_at, grace)
    query = select(ModelRow.id, ModelRow.files, ModelRow.deleted_at).where(*conditions)
    for row, files, deleted in session.execute(query):
        yield from _files(files, "models" if deleted is None else "deleted", row)


def _checkpoints(session: Session, project_id: str | None) -> Iterator[Reference]:
    columns = (CheckpointRow.id, CheckpointRow.key, CheckpointRow.bytes)
    query = select(*columns).join(JobRow, JobRow.id == CheckpointRow.job_id).where(_of(JobRow.project_id, project_id))
    for row, key, size in session.execute(query):
        yield Reference(key, size, "checkpoints", row)


def _job_files(session: Session, project_id: str | None) -> Iterator[Reference]:
    conditions = _of(JobRow.project_id, project_id)
    for row, files in session.execute(select(JobRow.id, JobRow.files).where(JobRow.files.is_not(None), conditions)):
        yield from _files(files, "job_files", row)
    trials = select(JobRow.id, TrialRow.candidate).join(TrialRow, TrialRow.job_id == JobRow.id)
    for row, candidate in session.execute(trials.where(TrialRow.candidate.is_not(None), conditions)):
        yield from _files(candidate["files"], "job_files", row)
