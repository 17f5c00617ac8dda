"""What can be done with jobs: submitted, listed, read."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app import events
from app.datasets.access import dataset_ids_ever
from app.errors import NotFoundError
from app.events import ProjectEvents
from app.history import repository as history
from app.jobs import attempts, repository
from app.jobs.kinds import KINDS
from app.jobs.queueing import Resolve, check_room, enqueue
from app.jobs.repository import EventRow, JobFilters, JobRow
from app.jobs.schemas import (
    Attempt,
    Checkpoint,
    EventList,
    Job,
    JobEvent,
    JobLinks,
    JobSummary,
    MetricList,
    MetricPoint,
    Output,
    ProjectEvent,
    ProjectEventList,
)
from app.jobs.waiting import Waiting
from app.kit.pages import Listing, Page, View, listing, summary_of
from app.models import service as models
from app.queue import JobQueue


def submit(session: Session, queue: JobQueue, project_id: str, resolve: Resolve, max_unfinished: int) -> Job:
    """Check a request and queue its job; the worker is rung once it is committed.

    Raises:
        TooManyError: too many jobs of the project are unfinished.
        NotFoundError, ConflictError, UnprocessableError: as `JobKind.resolve` does.
    """
    check_room(session, project_id, max_unfinished)
    return render(session, enqueue(session, queue, project_id, resolve(session, project_id)))


def get(session: Session, project_id: str, job_id: str) -> Job:
    """Return a job. Raises like `find`."""
    return render(session, find(session, project_id, job_id))


def find(session: Session, project_id: str, job_id: str) -> JobRow:
    """Return a job of this project.

    Raises:
        NotFoundError: there is none.
    """
    row = repository.find(session, project_id, job_id)
    if row is None:
        msg = "There is no such job in this project."
        raise NotFoundError(msg, code="job_not_found")
    return row


def list_page(
    session: Session, project_id: str, page: Page, view: View, filters: JobFilters
) -> Listing[Job] | Listing[JobSummary]:
    """Return one page of the jobs that the filters leave.

    Raises:
        NotFoundError: the project has no such model, or never had such a dataset.
    """
    parent = None if filters.model is None else models.resolve(session, project_id, filters.model).id
    ids = None if filters.dataset is None else dataset_ids_ever(session, project_id, filters.dataset)
    rows, more = repository.page(session, project_id, page, filters, parent, ids)
    jobs = render_all(session, rows)
    if view == "full":
        return Listing[Job](**listing(jobs, has_more=more))
    return Listing[JobSummary](**listing([summary_of(job, JobSummary) for job in jobs], has_more=more))


def render(session: Session, row: JobRow) -> Job:
    """Return the answer that describes a job."""
    return render_all(session, [row])[0]


def render_all(session: Session, rows: Sequence[JobRow]) -> list[Job]:
    """Return the answers that describe jobs."""
    waiting, outputs = Waiting(session, rows), repository.outputs(session, [row.id for row in rows])
    return [_render(session, row, waiting, outputs.get(row.id, [])) for row in rows]


def _render(session: Session, row: JobRow, waiting: Waiting, outputs: list[str]) -> Job:
    base = f"/v1/jobs/{row.id}"
    links = JobLinks(
        self=base,
        events=f"{base}/events",
        attempts=f"{base}/attempts",
        metrics=f"{base}/metrics",
        checkpoints=f"{base}/checkpoints",
        curves=f"{base}/curves",
        files=f"{base}/files",
        dataset=row.dataset_id and f"/v1/datasets/{row.dataset_id}",
        trials=KINDS[row.kind].links(row.id).get("trials"),
    )
    fields = {
        name: getattr(row, name)
        for name in (
            "id",
            "kind",
            "name",
            "phase",
            "progress",
            "priority",
            "created_at",
            "started_at",
            "finished_at",
        )
    }
    pauses = row.status == "paused" and repository.has_pausing_child(session, row.id)
    return Job(
        **fields,
        status="pausing" if pauses else row.status,
        queue_position=waiting.position(row),
        waiting_for=waiting.reason(row),
        attempt=row.attempts,
        dataset=row.dataset_id,
        model=row.parent_model_id,
        sweep=row.sweep_id,
        extends=row.extends_id,
        config=row.config,
        outputs=[Output(model=model) for model in outputs],
        metrics=row.metrics,
        warnings=row.warnings,
        error=row.error,
        metadata=row.job_metadata,
        links=links,
    )


def attempts_of(session: Session, project_id: str, job_id: str) -> list[Attempt]:
    """Return a job's attempts, oldest first."""
    find(session, project_id, job_id)
    rows = attempts.of_job(session, job_id)
    return [Attempt.model_validate(row, from_attributes=True) for row in rows]


def render_event(row: EventRow) -> JobEvent:
    """Return the answer that describes an event."""
    return JobEvent.model_validate(row, from_attributes=True)


def render_project_event(row: EventRow, kind: str) -> ProjectEvent:
    """Return the answer that describes an event among those of its project."""
    place = {"id": f"{row.created_at!r}~{row.job_id}~{row.seq}", "job": row.job_id, "job_kind": kind}
    return ProjectEvent.model_validate({**render_event(row).model_dump(), **place})


def project_events(session: Session, project_id: str, selection: ProjectEvents, limit: int) -> ProjectEventList:
    """Return a page of the events of a project's jobs."""
    rows = events.of_project(
        session, project_id, selection.after or events.BEGINNING, limit + 1, selection.kind, selection.type
    )
    data = [render_project_event(row, job_kind) for row, job_kind in rows[:limit]]
    removed = history.removed_until(session, history.EVENTS)
    return ProjectEventList(data=data, has_more=len(rows) > limit, removed_until=removed)


def events_after(session: Session, project_id: str, job_id: str, after: int, limit: int) -> EventList:
    """Return the events after a number."""
    find(session, project_id, job_id)
    rows = events.since(session, job_id, after, limit + 1)
    data = [render_event(row) for row in rows[:limit]]
    return EventList(data=data, has_more=len(rows) > limit, removed=events.removed(session, job_id))


def metrics(session: Session, project_id: str, job_id: str, after: int, limit: int) -> MetricList:
    """Return the measurements after a step."""
    row = find(session, project_id, job_id)
    rows = repository.metrics(session, job_id, after, limit + 1)
    points = [MetricPoint.model_validate(point, from_attributes=True) for point in rows[:limit]]
    return MetricList(data=points, has_more=len(rows) > limit, removed=are_measurements_removed(session, row))


def are_measurements_removed(session: Session, row: JobRow) -> bool:
    """Tell whether a job ended so long ago that its measurements are kept no more."""
    until = history.removed_until(session, history.MEASUREMENTS)
    return until is not None and row.finished_at is not None and row.finished_at <= until


def checkpoints(session: Session, project_id: str, job_id: str) -> list[Checkpoint]:
    """Return the checkpoints that are kept, newest first."""
    find(session, project_id, job_id)
    rows = repository.checkpoints(session, job_id)
    return [Checkpoint.model_validate(row, from_attributes=True) for row in rows]
