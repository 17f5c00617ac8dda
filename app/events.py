"""Events of jobs: numbered, appended in the transaction that they report, and read from any number on."""

from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.jobs.repository import EventRow, JobRow

Level = Literal["info", "warning", "error"]
_INSERT = insert(EventRow)  # a statement made once: to build one costs as much as to run it


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


def last_of(session: Session, job_id: str, kinds: tuple[str, ...]) -> str | None:
    """Return the kind of the last event of a job that is one of these; None where there is none."""
    query = select(EventRow.type).where(EventRow.job_id == job_id, EventRow.type.in_(kinds))
    return session.scalar(query.order_by(EventRow.seq.desc()).limit(1))
