"""Tasks that recur: of all processes the one does it that sets the time of its last beginning first."""

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import HousekeepingRow

_FIRST_TIME = text(
    "INSERT INTO housekeeping (task, begun_at) VALUES (:task, :now) ON CONFLICT (task) DO NOTHING RETURNING task"
)


def seconds_since(session: Session, task: str) -> float | None:
    """Return for how many seconds a task has not been begun; None: it never was."""
    elapsed = select(db_now() - HousekeepingRow.begun_at).where(HousekeepingRow.task == task)
    return session.scalar(elapsed)


def begin(session: Session, task: str, seconds: float, *, at_once: bool = False) -> bool:
    """Begin a task that was last begun `seconds` ago or earlier; return False where another process was faster.

    A task that was never begun begins to wait, or is begun `at_once`. Nobody waits for a process that was stopped
    while it began.
    """
    now = session.execute(select(db_now())).scalar_one()
    due = select(HousekeepingRow.task).where(HousekeepingRow.task == task, HousekeepingRow.begun_at <= now - seconds)
    if session.scalar(due.with_for_update(skip_locked=True)) is not None:
        session.execute(update(HousekeepingRow).where(HousekeepingRow.task == task).values(begun_at=now))
        return True
    if seconds_since(session, task) is not None:
        return False
    is_first = session.execute(_FIRST_TIME, {"task": task, "now": now}).first() is not None
    return at_once and is_first


def release(session: Session, task: str) -> None:
    """Let the task be begun at once: as if it never was."""
    session.execute(delete(HousekeepingRow).where(HousekeepingRow.task == task))
