"""Workers sign in as long as they live, so that a job that none of them can run says so instead of waiting silently."""

from collections import Counter
from collections.abc import Collection

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import WorkerRow

SEEN_SECONDS = 120.0  # a worker that was not seen for longer is not counted on
_FORGOTTEN_SECONDS = 86400.0


def sign_in(session: Session, worker: str, devices: Collection[str]) -> None:
    """Say that a worker lives and which kinds of device it has; forget those that were not seen for a day."""
    now = session.execute(select(db_now())).scalar_one()
    kinds = " ".join(devices)
    mine = update(WorkerRow).where(WorkerRow.id == worker).values(seen_at=now, devices=kinds).returning(WorkerRow.id)
    if session.execute(mine.execution_options(synchronize_session=False)).first() is None:
        session.add(WorkerRow(id=worker, devices=kinds, started_at=now, seen_at=now))
    session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now - _FORGOTTEN_SECONDS))


def sign_out(session: Session, worker: str) -> None:
    """Say that a worker ends."""
    session.execute(delete(WorkerRow).where(WorkerRow.id == worker))


def devices_seen(session: Session) -> frozenset[str]:
    """Return the kinds of device that living workers have; empty where no worker was seen of late."""
    return frozenset(count_seen(session))


def count_seen(session: Session) -> Counter[str]:
    """Count the living workers that have each kind of device."""
    recent = select(WorkerRow.devices).where(WorkerRow.seen_at > db_now() - SEEN_SECONDS)
    return Counter(kind for devices in session.scalars(recent) for kind in devices.split())
