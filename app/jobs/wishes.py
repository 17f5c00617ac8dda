"""What users wish for a job beside its end: that it pauses, goes on, or is tried once more."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import events
from app.db.session import db_now
from app.db.tables import DatasetRow, JobRow
from app.jobs.ending import change
from app.jobs.states import TERMINAL, Status, sources


def pause(session: Session, job_id: str) -> str | None:
    """Pause a queued job, or ask the holder of its lease to; return the new status, None where it cannot be.

    With a sweep its trials pause.
    """
    found = change(session, job_id, ("queued",), status="paused")
    status: Status = "paused" if found is not None else "pausing"
    if found is None:
        found = change(session, job_id, sources("pausing"), status="pausing")
    if found is None:
        return session.scalar(
            select(JobRow.status).where(JobRow.id == job_id, JobRow.status.in_(("pausing", "paused")))
        )
    message = "Paused; resume lets it go on." if status == "paused" else "Asked to pause at its next step."
    events.append(session, job_id, f"job.{status}", message)
    if found.kind == "sweep":
        for trial in _trials(session, job_id):
            pause(session, trial)
    return status


def resume(session: Session, job_id: str) -> bool:
    """Queue a paused job again, with a sweep its trials; False where it is not paused."""
    found = change(session, job_id, ("paused",), status="queued", queued_at=db_now(), not_before=None)
    if found is None:
        return False
    events.append(session, job_id, "job.resumed", "Queued again; it goes on from its last checkpoint.")
    if found.kind == "sweep":
        for trial in _trials(session, job_id):
            resume(session, trial)
    return True


def pausing_trials(session: Session, sweep_id: str) -> bool:
    """Whether some trial of a sweep has been asked to pause and has not yet."""
    query = select(JobRow.id).where(JobRow.sweep_id == sweep_id, JobRow.status == "pausing")
    return session.execute(query.limit(1)).first() is not None


def retry(session: Session, job_id: str) -> bool:
    """Queue a failed or cancelled job again, all its attempts forgiven; False where it is neither."""
    again = {
        "queued_at": db_now(),
        "tried_since": db_now(),
        "attempts": 0,
        "error": None,
        "finished_at": None,
        "not_before": None,
        "owner": None,
    }
    found = change(session, job_id, ("failed", "cancelled"), status="queued", **again)
    if found is None:
        return False
    if found.kind == "preparation":
        prepared = update(DatasetRow).where(DatasetRow.id == found.dataset_id, DatasetRow.job_id == job_id)
        waiting = prepared.values(status="preparing", error=None)
        session.execute(waiting.execution_options(synchronize_session=False))
    events.append(session, job_id, "job.retried", "Queued once more; it goes on from its last checkpoint.")
    return True


def _trials(session: Session, sweep_id: str) -> list[str]:
    unfinished = select(JobRow.id).where(JobRow.sweep_id == sweep_id, JobRow.status.not_in(TERMINAL))
    return list(session.scalars(unfinished.order_by(JobRow.id)))
