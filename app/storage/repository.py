"""SQL of the files that rows name: a file stays if and only if a row names it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, case, column, delete, exists, func, or_, select, table, true
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from app import events
from app.artifacts import blob_key
from app.db.session import db_now
from app.db.tables import (
    CheckpointRow,
    DatasetRow,
    JobRow,
    ModelRow,
    NamedFileRow,
    StorageTotalRow,
    TrialRow,
    UploadPartRow,
    UploadRow,
)
from app.jobs.attempts import folder_name
from app.jobs.repository import CHECKPOINTS_REMOVED
from app.jobs.states import LEASED, TERMINAL

_DAY_SECONDS = 86_400
_MAX_EXPIRED = 100  # in one transaction
_BLOCK_ROWS = 1000  # read at a time
_DELETED = table("deleted_files", *map(column, ("project_id", "deleted_at", "file", "bytes")))  # a view
Kind = Literal["datasets", "models", "checkpoints", "job_files", "uploads", "deleted"]


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
    yield from _uploads(session, project_id)


@dataclass(frozen=True, slots=True)
class Expired:
    """An ended job whose checkpoints nobody needs any more, and why."""

    job: str
    reason: str
    checkpoints: frozenset[str]


def expired(session: Session, grace: float, days: float, *, lock: bool = False) -> list[Expired]:
    """Return the jobs whose checkpoints may go; with `lock` nobody retries them until the transaction ends.

    What a deleted row keeps alive is kept for `grace` seconds, and nothing that an unfinished job goes on from goes.
    """
    job, reason = JobRow, _expiry(grace, days)
    ended = job.status.in_(TERMINAL) & _has_checkpoints(job) & reason.is_not(None) & ~_is_extended(job)
    query = select(job.id, reason).where(ended).order_by(job.id).limit(_MAX_EXPIRED)
    rows = session.execute(query.with_for_update(of=job, skip_locked=True) if lock else query).all()
    kept: dict[str, set[str]] = {job_id: set() for job_id, _ in rows}
    for job_id, row in session.execute(
        select(CheckpointRow.job_id, CheckpointRow.id).where(CheckpointRow.job_id.in_(kept))
    ):
        kept[job_id].add(row)
    return [Expired(job_id, str(why), frozenset(kept[job_id])) for job_id, why in rows]


def forget_checkpoints(session: Session, expired_jobs: Iterable[Expired]) -> None:
    """Delete the rows of these jobs' checkpoints, and tell it in an event of each job."""
    for job in expired_jobs:
        session.execute(delete(CheckpointRow).where(CheckpointRow.job_id == job.job))
        message = f"Its checkpoints were removed: {job.reason}."
        events.append(session, job.job, CHECKPOINTS_REMOVED, message, {"checkpoints": len(job.checkpoints)})


def forget_uploads(session: Session, days: float) -> bool:
    """Delete uploads in parts that nobody has changed for so many days, some of them; return whether there were any."""
    old = UploadRow.changed_at <= db_now() - days * _DAY_SECONDS
    query = select(UploadRow.id).where(old).limit(_MAX_EXPIRED).with_for_update(skip_locked=True)
    ids = list(session.scalars(query))
    session.execute(delete(UploadPartRow).where(UploadPartRow.upload_id.in_(ids)))
    session.execute(delete(UploadRow).where(UploadRow.id.in_(ids)))
    return bool(ids)


def _expiry(grace: float, days: float) -> ColumnElement[str | None]:
    """Say why an ended job's checkpoints may go, null where they may not."""
    gone = db_now() - grace
    sweep = aliased(JobRow)
    dataset = exists().where(DatasetRow.id == JobRow.dataset_id, DatasetRow.deleted_at <= gone)
    parent = exists().where(ModelRow.id == JobRow.parent_model_id, ModelRow.deleted_at <= gone)
    output = exists().where(ModelRow.job_id == JobRow.id, ModelRow.deleted_at <= gone)
    is_over = exists().where(sweep.id == JobRow.sweep_id, sweep.status.in_(TERMINAL))
    return case(
        (dataset, "its dataset has been deleted"),
        (parent, "the model that it starts from has been deleted"),
        (output, "its model has been deleted"),
        (is_over, "its sweep has ended"),
        (JobRow.finished_at <= db_now() - days * _DAY_SECONDS, f"it ended more than {days:g} days ago"),
        else_=None,
    )


def _has_checkpoints(job: type[JobRow]) -> ColumnElement[bool]:
    return exists().where(CheckpointRow.job_id == job.id)


def _is_extended(job: type[JobRow]) -> ColumnElement[bool]:
    """Whether an unfinished job goes on from this one."""
    extension = aliased(JobRow)
    return exists().where(extension.extends_id == job.id, extension.status.not_in(TERMINAL))


@dataclass(frozen=True, slots=True)
class Total:
    """How many files or rows, and their bytes."""

    count: int = 0
    bytes: int = 0


def totals(session: Session, project_id: str) -> Mapping[str, Total]:
    """Return what a project keeps by kind, as triggers have counted it (`StorageTotalRow`); absent kinds are 0."""
    sums = func.sum(StorageTotalRow.count), func.sum(StorageTotalRow.bytes)
    query = select(StorageTotalRow.kind, *sums).where(StorageTotalRow.project_id == project_id)
    rows = session.execute(query.group_by(StorageTotalRow.kind))
    return defaultdict(Total, {kind: Total(int(count), int(size)) for kind, count, size in rows})


def deleted_files(session: Session, grace: float, project_id: str, *, besides_kept: bool = False) -> Total:
    """Add up the files that rows name which were deleted within `grace` seconds.

    With `besides_kept` those count that no other row of the project names.
    """
    files, since = _DELETED.c, session.execute(select(db_now())).scalar_one() - grace
    named = select(files.file, files.bytes).where(files.project_id == project_id, files.deleted_at > since)
    if besides_kept:
        is_kept = (NamedFileRow.project_id == project_id) & (NamedFileRow.file == files.file)
        named = named.where(~exists().where(is_kept))
    distinct = named.distinct().subquery()
    count, size = session.execute(
        select(func.count(), func.coalesce(func.sum(distinct.c.bytes), 0)).select_from(distinct)
    ).one()
    return Total(count, int(size))


def labelled_rows(session: Session) -> tuple[int, int]:
    """Return how many labelled rows all projects keep in the database, and their bytes."""
    query = select(func.sum(StorageTotalRow.count), func.sum(StorageTotalRow.bytes))
    count, size = session.execute(query.where(StorageTotalRow.kind == "labelled_rows")).one()
    return int(count or 0), int(size or 0)


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


def _in_blocks(session: Session, query: Select[*tuple[Any, ...]]) -> Iterator[Row[*tuple[Any, ...]]]:
    """Yield rows as they are read: of a million, one answer would take more memory and time than there is."""
    yield from session.execute(query.execution_options(yield_per=_BLOCK_ROWS))


def _datasets(session: Session, grace: float, project_id: str | None) -> Iterator[Reference]:
    columns = (DatasetRow.id, DatasetRow.source_sha256, DatasetRow.source_bytes, DatasetRow.files)
    conditions = _of(DatasetRow.project_id, project_id), _kept(DatasetRow.deleted_at, grace)
    query = select(*columns, DatasetRow.deleted_at).where(*conditions)
    for row, sha256, size, files, deleted in _in_blocks(session, query):
        kind: Kind = "datasets" if deleted is None else "deleted"
        yield Reference(blob_key(sha256), size, kind, row)
        yield from _files(files, kind, row)


def _models(session: Session, grace: float, project_id: str | None) -> Iterator[Reference]:
    conditions = _of(ModelRow.project_id, project_id), _kept(ModelRow.deleted_at, grace)
    query = select(ModelRow.id, ModelRow.files, ModelRow.deleted_at).where(*conditions)
    for row, files, deleted in _in_blocks(session, query):
        yield from _files(files, "models" if deleted is None else "deleted", row)


def _checkpoints(session: Session, project_id: str | None) -> Iterator[Reference]:
    columns = (CheckpointRow.id, CheckpointRow.key, CheckpointRow.bytes)
    query = select(*columns).join(JobRow, JobRow.id == CheckpointRow.job_id).where(_of(JobRow.project_id, project_id))
    for row, key, size in _in_blocks(session, query):
        yield Reference(key, size, "checkpoints", row)


def _job_files(session: Session, project_id: str | None) -> Iterator[Reference]:
    conditions = _of(JobRow.project_id, project_id)
    with_files = select(JobRow.id, JobRow.files).where(JobRow.files.is_not(None), conditions)
    for row, files in _in_blocks(session, with_files):
        yield from _files(files, "job_files", row)
    trials = select(JobRow.id, TrialRow.candidate).join(TrialRow, TrialRow.job_id == JobRow.id)
    for row, candidate in _in_blocks(session, trials.where(TrialRow.candidate.is_not(None), conditions)):
        yield from _files(candidate["files"], "job_files", row)


def _uploads(session: Session, project_id: str | None) -> Iterator[Reference]:
    of_project = _of(UploadRow.project_id, project_id)
    parts = select(UploadPartRow.upload_id, UploadPartRow.sha256, UploadPartRow.bytes)
    parts = parts.join(UploadRow, UploadRow.id == UploadPartRow.upload_id).where(of_project)
    whole = select(UploadRow.id, UploadRow.sha256, UploadRow.bytes).where(UploadRow.status == "complete", of_project)
    for query in (parts, whole):
        for row, sha256, size in _in_blocks(session, query):
            yield Reference(blob_key(sha256 or ""), size or 0, "uploads", row)
