"""SQL of idempotency keys."""

import time

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.tables import IdempotencyRow

__all__ = ["IdempotencyRow"]  # services know the type of a row from here


def find(session: Session, project_id: str, key: str) -> IdempotencyRow | None:
    """Return the row of a key."""
    return session.get(IdempotencyRow, (project_id, key))


def reserve(session: Session, project_id: str, key: str, fingerprint: str) -> tuple[IdempotencyRow, bool]:
    """Return the row of a key, and whether it is new: a new one still lacks its answer.

    Waits for another transaction with the same key, and returns its row once that one is committed.
    """
    earlier = session.get(IdempotencyRow, (project_id, key))
    if earlier is not None:
        return earlier, False
    row = IdempotencyRow(project_id=project_id, key=key, fingerprint=fingerprint, answer={}, created_at=time.time())
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return session.get_one(IdempotencyRow, (project_id, key)), False
    return row, True
