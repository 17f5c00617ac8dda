"""Decides about estimates: which training is measured."""

from sqlalchemy.orm import Session

from app.estimates.record import fingerprint
from app.jobs import service as jobs
from app.jobs.schemas import BaseRequest, Job
from app.queue import JobQueue


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
