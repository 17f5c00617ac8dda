"""How a job that nobody works on ends, and what ends with any job."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import events
from app.db.session import db_now
from app.db.tables import DatasetRow, JobRow
from app.jobs.states import TERMINAL, sources
from app.sweeps import repository as trials

_NO_ORM = {"synchronize_session": False}


class JobError(BaseModel):
    """Why a job failed: whose fault it is, and what to do."""

    code: str
    category: str
    message: str
    param: str | None = None


def cancel(session: Session, job_id: str) -> str | None:
    """Cancel a job that waits, or ask the holder of its lease to; return the new status, None if it had ended."""
    ended = change(session, job_id, ("queued", "paused"), status="cancelled", finished_at=db_now())
    if ended is not None:
        leave(session, job_id, ended.kind, ended.dataset_id, "cancelled", None)
        tell_end(session, job_id, "cancelled", "Cancelled while it waited.", None)
        return "cancelled"
    if change(session, job_id, sources("cancelling"), status="cancelling") is not None:
        events.append(session, job_id, "job.cancelling", "Asked to stop.")
        return "cancelling"
    return session.scalar(select(JobRow.status).where(JobRow.id == job_id, JobRow.status == "cancelling"))


def refuse(session: Session, job_id: str, error: JobError) -> None:
    """Fail a queued job that cannot be run at all."""
    if change(session, job_id, ("queued",), status="failed", finished_at=db_now(), error=error.model_dump()):
        tell_end(session, job_id, "failed", error.message, error)


def change(session: Session, job_id: str, before: Iterable[str], **values: Any) -> Any:
    """Change a job that is in one of these states and return its kind and dataset, None where it is in none."""
    compared = (
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.status.in_(list(before)))
        .values(**values)
        .returning(JobRow.kind, JobRow.dataset_id)
    )
    return session.execute(compared.execution_options(**_NO_ORM)).one_or_none()


def leave(
    session: Session, job_id: str, kind: str, dataset_id: str | None, status: str, error: dict[str, Any] | None
) -> None:
    """What ends with a job that ends without success: a preparation's dataset, a sweep's trials."""
    if status == "succeeded":
        return
    if kind == "sweep":
        _leave_trials(session, job_id)
    if kind != "preparation":
        return
    reason = error or {"code": "cancelled", "message": "Its preparation was cancelled."}
    dataset_error = {"code": reason["code"], "message": reason["message"], "errors": []}
    failed = (
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id, DatasetRow.job_id == job_id, DatasetRow.status == "preparing")
        .values(status="failed", error=dataset_error)
    )
    session.execute(failed.execution_options(**_NO_ORM))


def _leave_trials(session: Session, sweep_id: str) -> None:
    """Cancel the trials under way, and forget what the others made."""
    unfinished = select(JobRow.id).where(JobRow.sweep_id == sweep_id, JobRow.status.not_in(TERMINAL))
    for trial in session.scalars(unfinished.order_by(JobRow.id)).all():
        cancel(session, trial)
    trials.forget_candidates(session, sweep_id)


def tell_end(session: Session, job_id: str, to: str, message: str, error: JobError | None) -> None:
    """Tell the job's end as an event."""
    level: events.Level = "error" if to == "failed" else "info"
    events.append(session, job_id, f"job.{to}", message, {"error": error and error.model_dump()}, level=level)
