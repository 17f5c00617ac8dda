"""Decides about estimates: which training is measured, and how far the measured ones were off."""

import hashlib
import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import events
from app.db.tables import EventRow, JobRow
from app.jobs import service as jobs
from app.jobs.schemas import BaseRequest, Job
from app.queue import JobQueue

ERROR = "estimate.error"


def submit(session: Session, queue: JobQueue, project_id: str, request: BaseRequest, most_unfinished: int) -> Job:
    """Check a request as if it were to be trained, and queue its estimate. Raises like `jobs.settle`."""
    jobs.check_room(session, project_id, most_unfinished)
    fields = jobs.settle(session, project_id, request)
    mark = fingerprint(request.kind, fields["config"], fields["dataset_id"], fields["parent_model_id"])
    fields |= {
        "kind": "estimate",
        "name": None,
        "config": {**fields["config"], "estimates": request.kind, "fingerprint": mark},
    }
    return jobs.answer(
        session, jobs.enqueue(session, queue, project_id=project_id, priority=request.priority, **fields)
    )


def fingerprint(kind: str, config: dict[str, Any], dataset_id: str | None, parent_id: str | None) -> str:
    """Return what tells two settled trainings apart; how a value was decided does not."""
    settled = {name: value for name, value in config.items() if name != "decisions"}
    text = json.dumps([kind, settled, dataset_id, parent_id], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def compare(session: Session, job: JobRow, seconds: float) -> None:
    """Keep how far the project's newest estimate of this very training was off, where there is one."""
    mark = fingerprint(job.kind, job.config, job.dataset_id, job.parent_model_id)
    same = (
        select(JobRow)
        .where(
            JobRow.project_id == job.project_id,
            JobRow.kind == "estimate",
            JobRow.status == "succeeded",
            JobRow.dataset_id == job.dataset_id,
            JobRow.config["fingerprint"].as_string() == mark,
        )
        .order_by(JobRow.id.desc())
        .limit(1)
    )
    estimate = session.scalar(same)
    if estimate is None or estimate.metrics is None:
        return
    expected = float(estimate.metrics["seconds"])
    data = {"estimate": estimate.id, "estimated": expected, "seconds": seconds, "ratio": seconds / expected}
    events.append(session, job.id, ERROR, f"Training took {data['ratio']:.2f} times what was estimated.", data)


def errors(session: Session) -> list[float]:
    """Return actual by estimated seconds of all trainings that were estimated, in all projects, the oldest first."""
    told = select(EventRow.data).where(EventRow.type == ERROR).order_by(EventRow.created_at)
    return [float(data["ratio"]) for data in session.scalars(told)]
