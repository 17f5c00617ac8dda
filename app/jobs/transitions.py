"""Changes of a job's state by compare-and-set that need no lease: cancelled, paused, resumed, retried, refused.

What a job owns changes with it: the jobs whose `sweep_id` is its id, and the dataset whose `job_id` is. No torch.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import events
from app.datasets import repository as datasets
from app.db.session import db_now
from app.jobs.repository import JobRow, has_pausing_child, unfinished_children
from app.jobs.states import Status, sources
from app.sweeps import repository as trials
from app.webhooks import outbox


class JobError(BaseModel):
    """Why a job failed: whose fault it is, and what to do."""

    code: str
    category: str
    message: str
    param: str | None = None


def change(session: Session, job_id: str, before: Iterable[str], **values: Any) -> Any:
    """Change a job that is in one of these states and return its dataset_id as a row, None where it is in none."""
    compared = (
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.status.in_(list(before)))
        .values(**values)
        .returning(JobRow.dataset_id)
    )
    return session.execute(compared.execution_options(synchronize_session=False)).one_or_none()


def cancel(session: Session, job_id: str) -> str | None:
    """Cancel a job that waits, or ask the holder of its lease to; return the new status, None if it had ended."""
    row = change(session, job_id, ("queued", "paused"), status="cancelled", finished_at=db_now())
    if row is not None:
        end_owned(session, job_id, row.dataset_id, None)
        record_end(session, job_id, "cancelled", "Cancelled while it waited.", None)
        return "cancelled"
    if change(session, job_id, sources("cancelling"), status="cancelling") is not None:
        events.append(session, job_id, "job.cancelling", "Asked to stop.")
        return "cancelling"
    return session.scalar(select(JobRow.status).where(JobRow.id == job_id, JobRow.status == "cancelling"))


def refuse(session: Session, job_id: str, error: JobError) -> None:
    """Fail a queued job that cannot be run at all."""
    if change(session, job_id, ("queued",), status="failed", finished_at=db_now(), error=error.model_dump()):
        record_end(session, job_id, "failed", error.message, error)


def pause(session: Session, job_id: str) -> str | None:
    """Pause a queued job, or ask the holder of its lease to; return the new status, None where it cannot be paused."""
    row = change(session, job_id, ("queued",), status="paused")
    status: Status = "paused" if row is not None else "pausing"
    if row is None:
        row = change(session, job_id, sources("pausing"), status="pausing")
    if row is None:
        return session.scalar(
            select(JobRow.status).where(JobRow.id == job_id, JobRow.status.in_(("pausing", "paused")))
        )
    children = [pause(session, child) for child in unfinished_children(session, job_id)]
    if status == "paused" and "pausing" in children:
        events.append(session, job_id, "job.pausing", "Its trials were asked to pause at their next step.")
        return "pausing"
    message = "Paused; resume lets it go on." if status == "paused" else "Asked to pause at its next step."
    events.append(session, job_id, f"job.{status}", message)
    return status


def record_paused(session: Session, job_id: str) -> None:
    """Append the event that a job is paused, once it can be resumed: none of its children is still pausing."""
    # Locked, so that of two children that pause at once the later one sees the other.
    session.execute(select(JobRow.id).where(JobRow.id == job_id).with_for_update())
    if not has_pausing_child(session, job_id):
        message = "Paused; resume lets it go on from its last checkpoint."
        events.append(session, job_id, "job.paused", message)


def record_owner_paused(session: Session, child_id: str) -> None:
    """Do the same for the sweep of a trial that pauses no longer, where the sweep waited for that."""
    owner = select(JobRow.sweep_id).where(JobRow.id == child_id).scalar_subquery()
    sweep_id = session.scalar(select(JobRow.id).where(JobRow.id == owner, JobRow.status == "paused"))
    if sweep_id is not None and events.last_of(session, sweep_id, ("job.pausing", "job.paused")) == "job.pausing":
        record_paused(session, sweep_id)


def resume(session: Session, job_id: str) -> bool:
    """Queue a paused job again, and its children; return False where it is not paused."""
    if change(session, job_id, ("paused",), status="queued", queued_at=db_now(), not_before=None) is None:
        return False
    events.append(session, job_id, "job.resumed", "Queued again; it goes on from its last checkpoint.")
    for child in unfinished_children(session, job_id):
        resume(session, child)
    return True


def retry(session: Session, job_id: str) -> bool:
    """Queue a failed or cancelled job again, with its attempts forgiven; return False where it is neither."""
    cleared = {
        "queued_at": db_now(),
        "tried_since": db_now(),
        "attempts": 0,
        "error": None,
        "finished_at": None,
        "not_before": None,
        "owner": None,
    }
    row = change(session, job_id, ("failed", "cancelled"), status="queued", **cleared)
    if row is None:
        return False
    datasets.mark_preparing(session, row.dataset_id, job_id)
    events.append(
        session, job_id, "job.retried", "Queued once more; it goes on from its last checkpoint, where one is kept."
    )
    return True


def end_owned(session: Session, job_id: str, dataset_id: str | None, error: dict[str, Any] | None) -> None:
    """End what an unsuccessful job owns: its children are cancelled, the dataset that it was to prepare fails."""
    for child in unfinished_children(session, job_id):
        cancel(session, child)
    trials.forget_candidates(session, job_id)
    reason = error or {"code": "cancelled", "message": "Its preparation was cancelled."}
    datasets.mark_failed(
        session, dataset_id, job_id, {"code": reason["code"], "message": reason["message"], "errors": []}
    )


def record_end(session: Session, job_id: str, to: str, message: str, error: JobError | None) -> None:
    """Append the event of a job's end, and queue the messages of webhooks about it."""
    level: events.Level = "error" if to == "failed" else "info"
    reason = None if error is None else error.model_dump()
    events.append(session, job_id, f"job.{to}", message, {"error": reason}, level=level)
    outbox.job_ended(session, job_id, to, reason)
