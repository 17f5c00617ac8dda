"""The lease protocol: who may work on a job, and whose writes count.

A worker claims the best queued row by compare-and-set and gets a lease and a fencing token. It renews the lease
(`beat`); every write of the attempt names the token and changes nothing once another attempt holds the job. Expired
leases are swept up by whoever looks (`sweep`). Only the database's clock is asked.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, case, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app import events
from app.db.session import db_now
from app.db.tables import DatasetRow, JobRow
from app.jobs.states import LEASED, TERMINAL, Status, sources
from app.sweeps import repository as trials

_NO_ORM = {"synchronize_session": False}


class LeaseLostError(Exception):
    """Another attempt holds the job, or it has ended; nothing of this attempt may be written any more."""


class CancelledError(Exception):
    """The user wants the job cancelled; the holder of the lease closes it."""


class Lease(BaseModel):
    """The right to work on one job."""

    job_id: str
    token: int
    attempt: int


class JobError(BaseModel):
    """Why a job failed: whose fault it is, and what to do."""

    code: str
    category: str
    message: str
    param: str | None = None


def _mine(lease: Lease) -> ColumnElement[bool]:
    return (JobRow.id == lease.job_id) & (JobRow.token == lease.token) & JobRow.status.in_(LEASED)


def _startable(now: float) -> ColumnElement[bool]:
    """Queued and due; of a waiting sweep few enough trials are unfinished.

    Asked of the trials themselves and written nowhere, so that no end of a trial can be missed.
    """
    trial = aliased(JobRow)
    unfinished = (
        select(func.count())
        .select_from(trial)
        .where(trial.sweep_id == JobRow.id, trial.status.not_in(TERMINAL))
        .correlate(JobRow)
        .scalar_subquery()
    )
    due = or_(JobRow.not_before.is_(None), JobRow.not_before <= now)
    return (JobRow.status == "queued") & due & or_(JobRow.wakes_at.is_(None), unfinished <= JobRow.wakes_at)


def claim(session: Session, owner: str, seconds: float) -> Lease | None:
    """Take the best queued job, or None. Counts the attempt at once, so that a poisonous job runs out of them."""
    now = session.execute(select(db_now())).scalar_one()
    return _claim(session, _startable(now), owner, now, seconds)


def claim_sweep(session: Session, trial_id: str, seconds: float) -> Lease | None:
    """Take the sweep of a trial that has just ended, if it may go on and no turn of it has died before this one."""
    now = session.execute(select(db_now())).scalar_one()
    trial = aliased(JobRow)
    sweep_id = select(trial.sweep_id).where(trial.id == trial_id).scalar_subquery()
    which = _startable(now) & (JobRow.id == sweep_id) & (JobRow.attempts == 0)
    return _claim(session, which, trial_id, now, seconds)


def _claim(session: Session, which: ColumnElement[bool], owner: str, now: float, seconds: float) -> Lease | None:
    best = (
        select(JobRow.id)
        .where(which)
        .order_by(JobRow.priority.desc(), JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    take = (
        update(JobRow)
        .where(JobRow.id == best.scalar_subquery(), JobRow.status == "queued")
        .values(
            status="preparing",
            phase=None,
            token=JobRow.token + 1,
            attempts=JobRow.attempts + 1,
            owner=owner,
            lease_until=now + seconds,
            started_at=case((JobRow.wakes_at.is_not(None), JobRow.started_at), else_=now),
        )
        .returning(JobRow.id, JobRow.token, JobRow.attempts, JobRow.wakes_at)
    ).execution_options(**_NO_ORM)
    row = session.execute(take).one_or_none()
    if row is None:
        return None
    lease = Lease(job_id=row.id, token=row.token, attempt=row.attempts)
    if row.wakes_at is None:  # a sweep's story is that of its trials, not of its turns between them
        events.append(session, row.id, "attempt.started", f"Attempt {row.attempts} started.", {"attempt": row.attempts})
    return lease


def beat(session: Session, lease: Lease, seconds: float) -> str | None:
    """Renew the lease and return the job's status, or None where the lease is no longer ours."""
    renew = update(JobRow).where(_mine(lease)).values(lease_until=db_now() + seconds).returning(JobRow.status)
    return session.execute(renew.execution_options(**_NO_ORM)).scalar_one_or_none()


def write(session: Session, lease: Lease, **values: Any) -> None:
    """Change fields of the job.

    Raises:
        CancelledError: the job is to be cancelled.
        LeaseLostError: the lease is not ours.
    """
    change = update(JobRow).where(_mine(lease)).values(**values).returning(JobRow.status)
    status = session.execute(change.execution_options(**_NO_ORM)).scalar_one_or_none()
    if status is None:
        raise LeaseLostError
    if status == "cancelling":
        raise CancelledError


def hold(session: Session, lease: Lease) -> None:
    """Make sure that the lease is ours until this transaction ends. Raises like `write`."""
    write(session, lease, token=JobRow.token)


def move(session: Session, lease: Lease, to: Status, **values: Any) -> None:
    """Change the job's state, if that is legal from where it is.

    Raises:
        CancelledError: the job is to be cancelled instead.
        LeaseLostError: the lease is not ours.
    """
    change = (
        update(JobRow)
        .where(_mine(lease), JobRow.status.in_(sources(to)))
        .values(status=to, **values)
        .returning(JobRow.kind, JobRow.dataset_id)
    )
    row = session.execute(change.execution_options(**_NO_ORM)).one_or_none()
    if row is None:
        hold(session, lease)
        if session.scalar(select(JobRow.status).where(_mine(lease))) == to:
            return  # said before, and the answer was lost
        msg = f"no legal change to {to}"
        raise RuntimeError(msg)
    if to in TERMINAL:
        _leave(session, lease.job_id, row.kind, row.dataset_id, to, values.get("error"))


def finish(session: Session, lease: Lease, to: Status, message: str, error: JobError | None = None) -> None:
    """End the job and tell so. Raises like `move`."""
    ended = {"finished_at": db_now(), "phase": None, "lease_until": None, "error": error and error.model_dump()}
    move(session, lease, to, **ended)
    _tell_end(session, lease.job_id, to, message, error)


def requeue(session: Session, lease: Lease, reason: str, *, charged: bool) -> None:
    """Give the job back to the queue; an attempt that is not charged was no fault of the job. Raises like `move`."""
    attempts = JobRow.attempts if charged else JobRow.attempts - 1
    again = {"lease_until": None, "owner": None, "queued_at": db_now(), "attempts": attempts}
    move(session, lease, "queued", **again)
    events.append(session, lease.job_id, "job.requeued", reason, {"charged": charged}, level="warning")


def park(session: Session, lease: Lease, wakes_at: int, **values: Any) -> None:
    """Let a sweep wait without a worker until at most so many of its trials are unfinished. Raises like `move`.

    The turn went well, so that the attempts that died before it are forgiven.
    """
    waiting = {"lease_until": None, "owner": None, "queued_at": db_now(), "attempts": 0, "wakes_at": wakes_at}
    move(session, lease, "queued", **waiting, **values)


def prune(session: Session, lease: Lease, message: str, data: dict[str, Any]) -> None:
    """End a trial that others have left behind. Raises like `move`."""
    move(session, lease, "cancelling")
    events.append(session, lease.job_id, "trial.pruned", message, data)
    finish(session, lease, "cancelled", message)


def refuse(session: Session, job_id: str, error: JobError) -> None:
    """Fail a queued job that cannot be run at all."""
    if _change(session, job_id, ("queued",), status="failed", finished_at=db_now(), error=error.model_dump()):
        _tell_end(session, job_id, "failed", error.message, error)


def abandon(session: Session, lease: Lease, max_attempts: int, reason: str) -> None:
    """Take the job from an attempt that died: cancelled if asked for, else queued again or, at the limit, failed."""
    status = session.scalar(select(JobRow.status).where(_mine(lease)))
    if status is None:
        return
    if status == "cancelling":
        finish(session, lease, "cancelled", "Cancelled.")
    elif lease.attempt >= max_attempts:
        advice = "See the worker's log; too little memory is the usual cause. Then submit it again."
        message = f"{reason} This was attempt {lease.attempt} of {max_attempts}. {advice}"
        error = JobError(code="worker_lost", category="platform", message=message)
        finish(session, lease, "failed", message, error)
    else:
        requeue(session, lease, f"{reason} The job goes on from its last checkpoint.", charged=True)


def sweep(session: Session, max_attempts: int) -> int:
    """Take the jobs of silent workers from them; return how many there were."""
    now = session.execute(select(db_now())).scalar_one()
    expired = (
        select(JobRow.id, JobRow.token, JobRow.attempts)
        .where(JobRow.status.in_(LEASED), JobRow.lease_until < now)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(expired).all()
    for row in rows:
        lease = Lease(job_id=row.id, token=row.token, attempt=row.attempts)
        abandon(session, lease, max_attempts, "The worker fell silent.")
    return len(rows)


def waiting(session: Session, longer_than: float) -> bool:
    """Tell whether a job that may start has been queued for longer than so many seconds."""
    now = session.execute(select(db_now())).scalar_one()
    query = select(JobRow.id).where(_startable(now), JobRow.queued_at < now - longer_than)
    return session.execute(query.limit(1)).first() is not None


def cancel(session: Session, job_id: str) -> str | None:
    """Cancel a queued job, or ask the holder of its lease to; return the new status, None if it had ended."""
    ended = _change(session, job_id, ("queued",), status="cancelled", finished_at=db_now())
    if ended is not None:
        _leave(session, job_id, ended.kind, ended.dataset_id, "cancelled", None)
        _tell_end(session, job_id, "cancelled", "Cancelled before it started.", None)
        return "cancelled"
    if _change(session, job_id, sources("cancelling"), status="cancelling") is not None:
        events.append(session, job_id, "job.cancelling", "Asked to stop.")
        return "cancelling"
    return session.scalar(select(JobRow.status).where(JobRow.id == job_id, JobRow.status == "cancelling"))


def _change(session: Session, job_id: str, before: Iterable[str], **values: Any) -> Any:
    change = (
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.status.in_(list(before)))
        .values(**values)
        .returning(JobRow.kind, JobRow.dataset_id)
    )
    return session.execute(change.execution_options(**_NO_ORM)).one_or_none()


def _leave(
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
    change = (
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id, DatasetRow.job_id == job_id, DatasetRow.status == "preparing")
        .values(status="failed", error=dataset_error)
    )
    session.execute(change.execution_options(**_NO_ORM))


def _leave_trials(session: Session, sweep_id: str) -> None:
    """Cancel the trials under way, and forget what the others made."""
    unfinished = select(JobRow.id).where(JobRow.sweep_id == sweep_id, JobRow.status.not_in(TERMINAL))
    for trial in session.scalars(unfinished.order_by(JobRow.id)).all():
        cancel(session, trial)
    trials.forget_candidates(session, sweep_id)


def _tell_end(session: Session, job_id: str, to: Status, message: str, error: JobError | None) -> None:
    level: events.Level = "error" if to == "failed" else "info"
    events.append(session, job_id, f"job.{to}", message, {"error": error and error.model_dump()}, level=level)
