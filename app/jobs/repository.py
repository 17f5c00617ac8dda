"""The SQL of jobs, as endpoints need it; the lease protocol has its own file."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Select, Text, cast, delete, exists, func, or_, select, type_coerce, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session, aliased

from app.db.session import db_now
from app.db.tables import (
    AttemptRow,
    CheckpointRow,
    DatasetRow,
    EventRow,
    JobRow,
    MetricRow,
    ModelRow,
    TrialRow,
    WorkerRow,
)
from app.jobs.interface import JobColumns
from app.jobs.states import LIVING, TERMINAL
from app.kit.ids import new_id
from app.kit.pages import Page, fetch_page

CHECKPOINTS_REMOVED = "checkpoint.removed"  # the type of an event
_BLOCK_ROWS = 5_000  # measurements that are decoded at once
# Services and the rest of the lease protocol know the types of rows from here.
__all__ = ["AttemptRow", "CheckpointRow", "EventRow", "JobRow", "MetricRow", "WorkerRow"]


@dataclass(frozen=True, slots=True)
class JobFilters:
    """What listed jobs have in common; null for any. Times are aware of their zone."""

    columns: Mapping[str, str | None] = field(default_factory=dict)
    model: str | None = None
    dataset: str | None = None
    metadata: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


def add(session: Session, project_id: str, columns: JobColumns, traceparent: str | None) -> JobRow:
    """Insert a queued job."""
    now = session.execute(select(db_now())).scalar_one()
    resources = columns.config.get("resources", {})
    row = JobRow(
        id=new_id("job"),
        project_id=project_id,
        status="queued",
        created_at=now,
        queued_at=now,
        traceparent=traceparent,
        kind=columns.kind,
        name=columns.name,
        config=columns.config,
        job_metadata=dict(columns.metadata),
        dataset_id=columns.dataset_id,
        parent_model_id=columns.parent_model_id,
        sweep_id=columns.sweep_id,
        extends_id=columns.extends_id,
        warnings=[
            *_dataset_warnings(session, columns.dataset_id),
            *(warning.model_dump(mode="json") for warning in columns.warnings),
        ],
        priority=columns.priority,
        urgency=_urgency_of_sweep(session, columns.sweep_id),
        lane=columns.lane,
        files=columns.files,
        **{name: resources[name] for name in ("device", "devices", "nodes") if name in resources},
    )
    session.add(row)
    session.flush()
    return row


def _urgency_of_sweep(session: Session, sweep_id: str | None) -> int:
    """Return the urgency of a new job: a trial's is its sweep's, and 0 is that of all others."""
    return session.scalar(select(JobRow.urgency).where(JobRow.id == sweep_id)) or 0 if sweep_id else 0


def _dataset_warnings(session: Session, dataset_id: str | None) -> list[Any]:
    """Return the warnings of the dataset that a new job reads, which the job repeats."""
    report = session.scalar(select(DatasetRow.report).where(DatasetRow.id == dataset_id)) if dataset_id else None
    warnings: list[Any] = (report or {}).get("warnings", [])
    return warnings


def find(session: Session, project_id: str, job_id: str) -> JobRow | None:
    """Return a job of this project."""
    return session.scalar(select(JobRow).where(JobRow.project_id == project_id, JobRow.id == job_id))


def get(session: Session, job_id: str) -> JobRow:
    """Return a job that is known to exist, of any project."""
    return session.get_one(JobRow, job_id)


def find_any(session: Session, job_id: str) -> JobRow | None:
    """Return a job of any project, for administrators."""
    return session.get(JobRow, job_id)


def page_of_all(session: Session, limits: Page, columns: Mapping[str, str | None]) -> tuple[list[JobRow], bool]:
    """Return one page of the jobs of all projects whose columns have these values, null for any; and if more follow."""
    return fetch_page(session, _with_values(select(JobRow), columns), JobRow.id, limits)


def set_urgency(session: Session, job_id: str, urgency: int) -> None:
    """Change the place of a job and of its trials among the jobs of all projects."""
    own = (JobRow.id == job_id) | (JobRow.sweep_id == job_id)
    session.execute(update(JobRow).where(own).values(urgency=urgency).execution_options(synchronize_session=False))


def lock(session: Session, project_id: str, job_id: str, *, share: bool = False) -> JobRow | None:
    """Return a job of this project that nobody changes until the transaction ends; with `share`, nobody deletes it."""
    query = select(JobRow).where(JobRow.project_id == project_id, JobRow.id == job_id)
    return session.scalar(query.with_for_update(read=share).execution_options(populate_existing=True))


def trials_of(session: Session, job_id: str) -> list[str]:
    """Return the ids of the jobs that belong to a job, as trials to a sweep."""
    return list(session.scalars(select(JobRow.id).where(JobRow.sweep_id == job_id).order_by(JobRow.id)))


def unfinished_extension(session: Session, job_id: str) -> str | None:
    """Return an unfinished job that goes on where this one ended."""
    query = select(JobRow.id).where(JobRow.extends_id == job_id, JobRow.status.not_in(TERMINAL))
    return session.scalar(query.order_by(JobRow.id).limit(1))


def delete_jobs(session: Session, job_ids: Sequence[str]) -> None:
    """Delete jobs and all that is theirs alone; models that they made keep their ids. Files go by garbage collection.

    A dataset that one of them prepared stays, without a job.
    """
    session.execute(update(DatasetRow).where(DatasetRow.job_id.in_(job_ids)).values(job_id=None))
    for table in (TrialRow, EventRow, MetricRow, CheckpointRow, AttemptRow):
        session.execute(delete(table).where(table.job_id.in_(job_ids)))
    session.execute(delete(JobRow).where(JobRow.id.in_(job_ids)))


def page(
    session: Session,
    project_id: str,
    limits: Page,
    filters: JobFilters,
    parent: str | None,
    datasets: Sequence[str] | None,
) -> tuple[list[JobRow], bool]:
    """Return one page of the project's jobs, and whether more follow.

    `parent` is the id of the model that they start from, `datasets` the ids of those that they read; null for any.
    """
    jobs = _with_values(select(JobRow), {**filters.columns, "project_id": project_id, "parent_model_id": parent})
    if datasets is not None:
        jobs = jobs.where(JobRow.dataset_id.in_(datasets))
    if filters.created_after is not None:
        jobs = jobs.where(JobRow.created_at >= filters.created_after.timestamp())
    if filters.created_before is not None:
        jobs = jobs.where(JobRow.created_at < filters.created_before.timestamp())
    for pair in filters.metadata:
        jobs = jobs.where(_has_entry(session, pair))
    return fetch_page(session, jobs, JobRow.id, limits)


def _with_values(jobs: Select[JobRow], columns: Mapping[str, str | None]) -> Select[JobRow]:
    """Return the jobs whose columns have these values, null for any."""
    values = {name: value for name, value in columns.items() if value is not None}
    if (status := values.pop("status", None)) is not None:
        jobs = jobs.where(_has_status(status))
    return jobs.filter_by(**values)


def _has_entry(session: Session, pair: str) -> ColumnElement[bool]:
    """Whether a job's metadata have an entry that is `pair`, key:value; keys may hold any character, a colon, too."""
    if session.get_bind().dialect.name == "sqlite":
        entry = func.json_each(JobRow.job_metadata).table_valued("key", "value")
        return exists().where(entry.c.key + ":" + entry.c.value == pair)
    colons = (place for place, character in enumerate(pair) if character == ":")
    metadata = type_coerce(JobRow.job_metadata, JSONB)  # whose index knows what is contained
    return or_(*(metadata.contains({pair[:place]: pair[place + 1 :]}) for place in colons))


def _has_status(status: str) -> ColumnElement[bool]:
    """Whether a job is answered with this status: a paused sweep is still pausing while one of its trials is."""
    trial = aliased(JobRow)
    pauses = select(trial.id).where(trial.sweep_id == JobRow.id, trial.status == "pausing").correlate(JobRow).exists()
    match status:
        case "paused":
            return (JobRow.status == status) & ~pauses
        case "pausing":
            return (JobRow.status == status) | ((JobRow.status == "paused") & pauses)
        case _:
            return JobRow.status == status


def has_unfinished(session: Session, project_id: str, count: int) -> bool:
    """Tell whether so many jobs of a project, or more, have not ended."""
    living = select(JobRow.id).where(JobRow.project_id == project_id, JobRow.status.in_(LIVING))
    return session.execute(living.offset(count - 1).limit(1)).first() is not None


def unfinished_children(session: Session, job_id: str) -> list[str]:
    """Return the ids of the jobs that belong to a job, as trials to a sweep, and have not ended."""
    query = select(JobRow.id).where(JobRow.sweep_id == job_id, JobRow.status.not_in(TERMINAL))
    return list(session.scalars(query.order_by(JobRow.id)))


def has_pausing_child(session: Session, job_id: str) -> bool:
    """Tell whether some job that belongs to a job has been asked to pause and has not yet."""
    query = select(JobRow.id).where(JobRow.sweep_id == job_id, JobRow.status == "pausing")
    return session.execute(query.limit(1)).first() is not None


def outputs(session: Session, job_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the ids of the models that jobs made and that still are, by the ids of the jobs that made any."""
    query = select(ModelRow.job_id, ModelRow.id).where(ModelRow.job_id.in_(job_ids), ModelRow.deleted_at.is_(None))
    made: dict[str, list[str]] = defaultdict(list)
    for row in session.execute(query):
        made[str(row.job_id)].append(row.id)
    return made


def metrics(session: Session, job_id: str, after: int, limit: int) -> list[MetricRow]:
    """Return measurements after a step, in order."""
    points = select(MetricRow).where(MetricRow.job_id == job_id, MetricRow.step > after)
    return list(session.scalars(points.order_by(MetricRow.step).limit(limit)))


def measurements(session: Session, job_id: str) -> Iterator[tuple[int, dict[str, float | None]]]:
    """Yield the step and the values of every measurement, in order; they are read and decoded in blocks."""
    query = select(MetricRow.step, cast(MetricRow.values, Text)).where(MetricRow.job_id == job_id)
    rows = session.execute(query.order_by(MetricRow.step).execution_options(yield_per=_BLOCK_ROWS))
    for block in rows.partitions():
        # One document for each block: decoding row by row takes three times as long.
        values = from_json(f"[{','.join(text for _, text in block)}]")
        yield from zip((step for step, _ in block), values, strict=True)


def checkpoints(session: Session, job_id: str) -> list[CheckpointRow]:
    """Return the checkpoints that are kept, newest first."""
    rows = select(CheckpointRow).where(CheckpointRow.job_id == job_id)
    return list(session.scalars(rows.order_by(CheckpointRow.step.desc(), CheckpointRow.token.desc())))


def removal_of_checkpoints(session: Session, job_id: str) -> str | None:
    """Return the sentence that says why a job's checkpoints were removed, None where they were not."""
    removed = select(EventRow.message).where(EventRow.job_id == job_id, EventRow.type == CHECKPOINTS_REMOVED)
    return session.scalar(removed.order_by(EventRow.seq.desc()).limit(1))


def count_unfinished(session: Session) -> Iterator[tuple[str, str, int]]:
    """Yield (kind, status, number of jobs) of all projects' jobs that have not ended."""
    query = select(JobRow.kind, JobRow.status, func.count()).where(JobRow.status.in_(LIVING))
    yield from session.execute(query.group_by(JobRow.kind, JobRow.status))


def running_progress(session: Session) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield (kind, progress) of every running job."""
    query = select(JobRow.kind, JobRow.progress).where(JobRow.status == "running")
    yield from session.execute(query)


def last_events(session: Session, job_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return the number of the last event and the status of each of these jobs that exists."""
    query = select(JobRow.id, JobRow.last_seq, JobRow.status).where(JobRow.id.in_(job_ids))
    return {job_id: (last_seq, status) for job_id, last_seq, status in session.execute(query)}
