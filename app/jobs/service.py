"""What can be done with jobs: submitted, looked at, cancelled."""

import logging
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import events, failpoints
from app.datasets import repository as datasets
from app.datasets.access import NO_SUCH_DATASET, find_dataset, ready_spec
from app.db.session import after_commit, db_now
from app.db.tables import DatasetRow, EventRow, JobRow, ModelRow
from app.errors import NotFoundError, TooManyError
from app.jobs import attempts, plan, repository, workers
from app.jobs.repository import JobFilter
from app.jobs.schemas import (
    Attempt,
    BaseRequest,
    Checkpoint,
    EvaluationRequest,
    FineTuningRequest,
    Job,
    JobEvent,
    JobLinks,
    JobRequest,
    MetricPoint,
    Output,
    SweepRequest,
)
from app.kit import logs
from app.kit.ids import new_id
from app.kit.pages import Page
from app.ml.errors import ConfigError
from app.models import service as models
from app.queue import JobQueue
from app.sweeps import plan as sweeps

log = logging.getLogger(__name__)


def submit(session: Session, queue: JobQueue, project_id: str, request: JobRequest, most_unfinished: int) -> Job:
    """Check a request and queue its job; the worker is rung once it is committed."""
    check_room(session, project_id, most_unfinished)
    if isinstance(request, SweepRequest):
        fields = settle_sweep(session, project_id, request)
    elif isinstance(request, EvaluationRequest):
        fields = settle_evaluation(session, project_id, request)
    else:
        fields = settle(session, project_id, request)
    return answer(session, enqueue(session, queue, project_id=project_id, priority=request.priority, **fields))


def check_room(session: Session, project_id: str, most_unfinished: int) -> None:
    """Raises TooManyError where no further job may be queued."""
    if repository.unfinished(session, project_id) >= most_unfinished:
        msg = f"{most_unfinished} jobs of this project are unfinished; wait for some or cancel them."
        raise TooManyError(msg, code="too_many_jobs")


def settle(session: Session, project_id: str, request: BaseRequest) -> dict[str, Any]:
    """Check a request and return the columns of its job. Raises like `plan.resolve`."""
    dataset = find_dataset(session, project_id, request.dataset)
    parent = _parent(session, project_id, request)
    config = plan.resolve(request, dataset, parent, _beside(session, project_id, request))
    if parent is not None:
        plan.check_held_out(config, models.taught_by(session, parent, dataset.source_sha256))
    return {
        "kind": request.kind,
        "name": plan.model_name(request, dataset),
        "config": config,
        "job_metadata": dict(request.metadata),
        "dataset_id": dataset.id,
        "parent_model_id": parent.id if parent else None,
    }


def settle_sweep(session: Session, project_id: str, request: SweepRequest) -> dict[str, Any]:
    """Check a sweep and return the columns of its job. Its base's model is fixed, whatever a name means later."""
    base = request.base
    dataset = find_dataset(session, project_id, base.dataset)
    parent = _parent(session, project_id, base)
    if parent is not None:
        request = request.model_copy(update={"base": base.model_copy(update={"model": parent.id})})
    config = sweeps.resolve(request, ready_spec(dataset), partial(settle, session, project_id))
    return {
        "kind": request.kind,
        "name": request.name or plan.model_name(base, dataset),
        "config": config.model_dump(mode="json"),
        "job_metadata": dict(request.metadata),
        "dataset_id": dataset.id,
        "parent_model_id": parent.id if parent else None,
    }


def settle_evaluation(session: Session, project_id: str, request: EvaluationRequest) -> dict[str, Any]:
    """Check an evaluation and return the columns of its job. Raises like `plan.resolve_evaluation`."""
    dataset = find_dataset(session, project_id, request.dataset)
    model = models.resolve(session, project_id, request.model)
    baseline = models.resolve(session, project_id, request.baseline) if request.baseline is not None else None
    return {
        "kind": request.kind,
        "name": None,
        "config": plan.resolve_evaluation(request, dataset, model, baseline),
        "job_metadata": dict(request.metadata),
        "dataset_id": dataset.id,
        "parent_model_id": model.id,
    }


def enqueue_preparation(session: Session, queue: JobQueue, project_id: str, dataset_id: str) -> str:
    """Queue the preparation of a dataset and return the job's id."""
    row = enqueue(
        session,
        queue,
        project_id=project_id,
        kind="preparation",
        name=None,
        config={},
        job_metadata={},
        dataset_id=dataset_id,
        parent_model_id=None,
    )
    return row.id


def enqueue(session: Session, queue: JobQueue, **fields: Any) -> JobRow:
    """Add a job that is queued, with its first event."""
    now = session.execute(select(db_now())).scalar_one()
    resources = fields["config"].get("resources", {})
    where = {name: resources[name] for name in ("device", "devices") if name in resources}
    times = {"created_at": now, "queued_at": now}
    row = JobRow(id=new_id("job"), status="queued", traceparent=logs.trace.get(), **times, **where, **fields)
    session.add(row)
    session.flush()
    events.append(session, row.id, "job.queued", "Queued.")
    after_commit(session, partial(log.info, "job %s is queued", row.id))
    session.refresh(row)
    after_commit(session, partial(failpoints.reach, "submit.committed"))
    after_commit(session, queue.ring)
    failpoints.reach("submit.before_commit")
    return row


def _beside(session: Session, project_id: str, request: BaseRequest) -> DatasetRow | None:
    """The other dataset that a request names."""
    if request.auxiliary_dataset is None:
        return None
    place, dataset_id = request.auxiliary_dataset
    row = datasets.find(session, project_id, dataset_id, keep=True)  # it is not deleted before the job is there
    if row is None:
        raise plan.misfit(ConfigError(place, NO_SUCH_DATASET))
    return row


def _parent(session: Session, project_id: str, request: BaseRequest) -> ModelRow | None:
    if not isinstance(request, FineTuningRequest) or request.model is None:
        return None
    return models.resolve(session, project_id, request.model)


def look(session: Session, project_id: str, job_id: str) -> Job:
    """Return a job as it is answered. Raises like `find`."""
    return answer(session, find(session, project_id, job_id))


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


def index(
    session: Session, project_id: str, page: Page, wanted: JobFilter, model: str | None
) -> tuple[list[Job], bool]:
    """Return one page of jobs, and whether more follow; `model` is a reference to what they start from or measure."""
    if model is not None:
        wanted = replace(wanted, parent_model_id=models.resolve(session, project_id, model).id)
    rows, more = repository.page(session, project_id, page, wanted)
    return [answer(session, row) for row in rows], more


def answer(session: Session, row: JobRow) -> Job:
    """Render a job."""
    base = f"/v1/jobs/{row.id}"
    links = JobLinks(
        self=base,
        events=f"{base}/events",
        attempts=f"{base}/attempts",
        metrics=f"{base}/metrics",
        checkpoints=f"{base}/checkpoints",
        curves=f"{base}/curves",
        dataset=row.dataset_id and f"/v1/datasets/{row.dataset_id}",
        trials=f"/v1/jobs?sweep={row.id}" if row.kind == "sweep" else None,
    )
    fields = {
        name: getattr(row, name)
        for name in (
            "id",
            "kind",
            "name",
            "status",
            "phase",
            "progress",
            "priority",
            "created_at",
            "started_at",
            "finished_at",
        )
    }
    return Job(
        **fields,
        queue_position=repository.queue_position(session, row),
        waiting_for=_waiting_for(session, row),
        attempt=row.attempts,
        dataset=row.dataset_id,
        model=row.parent_model_id,
        sweep=row.sweep_id,
        extends=row.extends_id,
        config=row.config,
        outputs=[Output(model=model) for model in repository.outputs(session, row.id)],
        metrics=row.metrics,
        error=row.error,
        metadata=row.job_metadata,
        links=links,
    )


def _waiting_for(session: Session, row: JobRow) -> str | None:
    """What a queued job lacks that time alone does not bring."""
    if row.status != "queued" or row.wakes_at is not None:
        return None
    seen = workers.devices_seen(session)
    if not seen:
        return "A worker: none was seen in the last two minutes."
    if row.device not in seen:
        return f"A worker with {row.device}: none was seen in the last two minutes."
    if row.devices > seen[row.device]:
        return f"A worker with {row.devices} devices ({row.device}): the most that one has is {seen[row.device]}."
    return None


def attempts_of(session: Session, project_id: str, job_id: str) -> list[Attempt]:
    """Return a job's attempts, the first first."""
    find(session, project_id, job_id)
    rows = attempts.of_job(session, job_id)
    return [Attempt.model_validate(row, from_attributes=True) for row in rows]


def event(row: EventRow) -> JobEvent:
    """Render an event."""
    return JobEvent.model_validate(row, from_attributes=True)


def events_after(session: Session, project_id: str, job_id: str, after: int, limit: int) -> tuple[list[JobEvent], bool]:
    """Return the events after a number, and whether there are more."""
    find(session, project_id, job_id)
    rows = events.since(session, job_id, after, limit + 1)
    return [event(row) for row in rows[:limit]], len(rows) > limit


def metrics(session: Session, project_id: str, job_id: str, after: int, limit: int) -> tuple[list[MetricPoint], bool]:
    """Return the measurements after a step, and whether there are more."""
    find(session, project_id, job_id)
    rows = repository.metrics(session, job_id, after, limit + 1)
    points = [MetricPoint.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return points, len(rows) > limit


def checkpoints(session: Session, project_id: str, job_id: str) -> list[Checkpoint]:
    """Return the checkpoints that are kept, newest first."""
    find(session, project_id, job_id)
    rows = repository.checkpoints(session, job_id)
    return [Checkpoint.model_validate(row, from_attributes=True) for row in rows]
