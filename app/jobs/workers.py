"""Workers sign in as long as they live, so that a job that none of them can run says so instead of waiting silently."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.jobs.repository import JobRow, WorkerRow
from app.jobs.states import LEASED

SEEN_SECONDS = 120.0  # a worker that was not seen for longer is not counted on
_FORGOTTEN_SECONDS = 86400.0


def sign_in(session: Session, worker: str, devices: Mapping[str, int]) -> None:
    """Say that a worker lives and how many devices of which kind it has; forget those that were not seen for a day."""
    now = session.execute(select(db_now())).scalar_one()
    kinds = " ".join(f"{kind}:{count}" for kind, count in devices.items())
    seen = update(WorkerRow).where(WorkerRow.id == worker).values(seen_at=now, devices=kinds).returning(WorkerRow.id)
    if session.execute(seen.execution_options(synchronize_session=False)).first() is None:
        session.add(WorkerRow(id=worker, devices=kinds, started_at=now, seen_at=now))
    session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now - _FORGOTTEN_SECONDS, ~_works()))


def sign_out(session: Session, worker: str) -> None:
    """Say that a worker ends."""
    session.execute(delete(WorkerRow).where(WorkerRow.id == worker))


def count_seen(session: Session) -> Counter[str]:
    """Count the living workers that have each kind of device."""
    return Counter(kind for devices in _seen(session) for kind in devices)


def count_idle(session: Session) -> int:
    """Count the living workers that lead no job."""
    busy = select(JobRow.owner).where(JobRow.status.in_(LEASED), JobRow.owner.is_not(None))
    idle = (WorkerRow.seen_at > db_now() - SEEN_SECONDS) & WorkerRow.id.not_in(busy)
    return session.execute(select(func.count()).select_from(WorkerRow).where(idle)).scalar_one()


def devices_seen(session: Session) -> dict[str, int]:
    """Return the kinds of device that living workers have, and how many of each the best of them has.

    Empty where no worker was seen of late. `auto` is what a worker takes for a job that names no kind.
    """
    counts: dict[str, int] = {}
    for devices in _seen(session):
        for kind, count in {**devices, "auto": usual(devices)}.items():
            counts[kind] = max(counts.get(kind, 0), count)
    return counts


def count_capable(session: Session, device: str, count: int) -> int:
    """Return how many living workers can run a job on so many devices of a kind, or of the one that each prefers."""
    return sum({**devices, "auto": usual(devices)}.get(device, 0) >= count for devices in _seen(session))


def usual(devices: Mapping[str, int]) -> int:
    """Return on how many devices a worker can run a job that names no kind: it takes GPUs where there are any."""
    return devices.get("cuda") or devices.get("cpu", 0)


def _works() -> ColumnElement[bool]:
    """Whether a worker renews a lease: one that found its job by polling does not sign in until the job has ended."""
    leased = JobRow.status.in_(LEASED) & (JobRow.lease_until > db_now())
    lease = select(JobRow.id).where(leased, JobRow.owner == WorkerRow.id)
    return lease.correlate(WorkerRow).exists()


def lives() -> ColumnElement[bool]:
    """Whether a worker is counted on: it was seen of late, or works."""
    return (WorkerRow.seen_at > db_now() - SEEN_SECONDS) | _works()


def _seen(session: Session) -> list[dict[str, int]]:
    recent = select(WorkerRow.devices).where(lives())
    words = [[word.partition(":") for word in row.split()] for row in session.scalars(recent)]
    return [{kind: int(count or 1) for kind, _, count in row} for row in words]  # those of a release before: no count
