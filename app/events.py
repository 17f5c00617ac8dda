"""Events of jobs: numbered, appended in the transaction that they report, and read from any number on."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.jobs.repository import EventRow, JobRow

EventKey: TypeAlias = tuple[str, int]  # a job's id and the event's number
Position: TypeAlias = tuple[float, str, int]  # of an event among those of a project: its time, and then its key
BEGINNING: Position = (0.0, "", 0)
Level = Literal["info", "warning", "error"]
_INSERT = insert(EventRow)  # a statement made once: to build one costs as much as to run it


@dataclass(frozen=True, slots=True)
class ProjectEvents:
    """Which events of a project: those after a position, of a kind of job, of a type; None: all."""

    after: Position | None
    kind: str | None
    type: str | None


def append(
    session: Session, job_id: str, kind: str, message: str, data: dict[str, Any] | None = None, level: Level = "info"
) -> int:
    """Append one event and return its number. A job's numbers have no gaps: its row is locked until the commit."""
    number = (
        update(JobRow).where(JobRow.id == job_id).values(last_seq=JobRow.last_seq + 1).returning(JobRow.last_seq)
    ).execution_options(synchronize_session=False)
    seq = session.execute(number).scalar_one()
    created_at = session.execute(select(db_now())).scalar_one()
    write(session, job_id, seq, created_at, kind, message, data, level)
    return seq


def write(
    session: Session,
    job_id: str,
    seq: int,
    created_at: float,
    kind: str,
    message: str,
    data: dict[str, Any] | None = None,
    level: Level = "info",
) -> None:
    """Write an event whose number `seq` this transaction has taken from the job's row."""
    values = {"job_id": job_id, "seq": seq, "created_at": created_at, "level": level, "type": kind, "message": message}
    session.connection().execute(_INSERT, {**values, "data": data or {}})


def since(session: Session, job_id: str, seq: int, limit: int = 1000) -> list[EventRow]:
    """Return the events after number `seq`, in order."""
    query = select(EventRow).where(EventRow.job_id == job_id, EventRow.seq > seq).order_by(EventRow.seq).limit(limit)
    return list(session.scalars(query))


def removed(session: Session, job_id: str) -> int:
    """Return how many of a job's first events are kept no more: numbers have no gaps, and the last event stays."""
    first = select(EventRow.seq).where(EventRow.job_id == job_id).order_by(EventRow.seq).limit(1)
    return (session.scalar(first) or 1) - 1


def of_project(
    session: Session,
    project_id: str,
    after: Position,
    limit: int,
    kind: str | None = None,
    event_type: str | None = None,
) -> list[tuple[EventRow, str]]:
    """Return the events of a project's jobs after a position, by time, each with the kind of its job."""
    position = tuple_(EventRow.created_at, EventRow.job_id, EventRow.seq)
    query = select(EventRow, JobRow.kind).join(JobRow, JobRow.id == EventRow.job_id)
    query = query.where(JobRow.project_id == project_id, EventRow.created_at >= after[0], position > tuple_(*after))
    filters = ((JobRow.kind, kind), (EventRow.type, event_type))
    query = query.where(*(column == value for column, value in filters if value is not None))
    query = query.order_by(EventRow.created_at, EventRow.job_id, EventRow.seq).limit(limit)
    return [(row, job_kind) for row, job_kind in session.execute(query)]


def last_of(session: Session, job_id: str, kinds: tuple[str, ...]) -> str | None:
    """Return the kind of the last event of a job that is one of these; None where there is none."""
    query = select(EventRow.type).where(EventRow.job_id == job_id, EventRow.type.in_(kinds))
    return session.scalar(query.order_by(EventRow.seq.desc()).limit(1))
