"""Attempts: each execution of a job, and how it ended. Their number is the fencing token that they write under."""

from typing import Literal

from pydantic import BaseModel
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.jobs.repository import AttemptRow, JobRow
from app.projects.repository import limits_of

Ending = Literal[
    "succeeded",
    "failed",
    "cancelled",
    "paused",  # a user asked for it
    "parked",  # a sweep waits for its trials
    "drained",  # the worker shut down
    "silent",  # its worker no longer renewed the lease
    "died",  # its trainer ended by itself
    "stopped",  # its trainer was killed, since it did not stop in time
    "stalled",  # its trainer did nothing any more
    "time_limit",
    "out_of_memory",  # the host's, by the kernel
    "device_lost",
    "member_lost",  # another worker of its gang fell silent or gave up
    "too_few_workers",  # its gang did not come together in time
]


_NODE = "-n"
_BEGIN = insert(AttemptRow)  # a statement made once: to build one costs as much as to run it


class Lease(BaseModel):
    """The right to work on one job."""

    job_id: str
    token: int
    attempt: int
    nodes: int = 1  # workers that are to train it together
    traceparent: str | None = None  # what its work belongs to


def folder_name(job_id: str, token: int, node: int = 0) -> str:
    """Return the name of an attempt's folder among the temporary files of its machine, or of a node of its gang."""
    return f"{job_id}-t{token}{_NODE}{node}" if node else f"{job_id}-t{token}"


def attempt_of(name: str) -> str:
    """Return the name of the attempt's own folder for that of one of its nodes."""
    return name.partition(_NODE)[0]


def begin(session: Session, lease: Lease, worker: str, now: float) -> None:
    """Note that an attempt starts."""
    values = {"job_id": lease.job_id, "token": lease.token, "worker": worker, "started_at": now, "charged": True}
    session.connection().execute(_BEGIN, values)


def restart_clock(session: Session, lease: Lease) -> None:
    """Let an attempt start now, whose workers have gathered: what it waited for them is no time of the job."""
    own = (AttemptRow.job_id == lease.job_id) & (AttemptRow.token == lease.token)
    change = update(AttemptRow).where(own).values(started_at=db_now())
    session.execute(change.execution_options(synchronize_session=False))


def end(session: Session, lease: Lease, ending: str, message: str, *, charged: bool = True) -> None:
    """Note how an attempt ended; of the turns of a sweep only the first is an attempt."""
    values = {"ended_at": db_now(), "ending": ending, "message": message, "charged": charged}
    own = (AttemptRow.job_id == lease.job_id) & (AttemptRow.token == lease.token) & AttemptRow.ended_at.is_(None)
    session.execute(update(AttemptRow).where(own).values(**values).execution_options(synchronize_session=False))


def of_job(session: Session, job_id: str) -> list[AttemptRow]:
    """Return a job's attempts, oldest first."""
    rows = select(AttemptRow).where(AttemptRow.job_id == job_id).order_by(AttemptRow.token)
    return list(session.scalars(rows))


def seconds_left(session: Session, job_id: str) -> float | None:
    """Return the seconds that a job may still run, None without a limit. Only attempts since its last retry count.

    Those that only gathered workers, and in vain, do not.

    The limit is that of its request (`resources.max_seconds`) or else of its project.
    """
    job = session.get_one(JobRow, job_id)
    max_seconds: float | None = (job.config.get("resources") or {}).get("max_seconds")
    max_seconds = max_seconds or limits_of(session, job.project_id).job_seconds
    if not max_seconds:
        return None
    total = func.coalesce(func.sum(AttemptRow.ended_at - AttemptRow.started_at), 0.0)
    ended = select(total).where(AttemptRow.job_id == job_id, AttemptRow.started_at >= (job.tried_since or 0.0))
    ended = ended.where(AttemptRow.ending != "too_few_workers")
    return max_seconds - float(session.execute(ended).scalar_one() or 0.0)
