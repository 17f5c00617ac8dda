"""SQL of what ended: totals over all time, which no figure has to count anew, and events and measurements that are old.

Each task goes through what ended in the order of time, in transactions of bounded size, and its row says up to when.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, cast, delete, func, select, text, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db.session import db_now
from app.db.tables import AttemptRow, EventRow, HousekeepingRow, JobRow, MetricRow

LAG_SECONDS = 60.0  # no transaction takes longer from the time that it writes as an end to its commit
_MAX_COUNTED = 10_000  # rows that one transaction counts
_MAX_JOBS, _MAX_REMOVED = 100, 10_000  # jobs whose rows one transaction removes, and rows that it removes
_MAX_NAMED = 1000  # rows that one statement names
_DAY_SECONDS = 86_400
_NEW_TASK = text("INSERT INTO housekeeping (task, begun_at) VALUES (:task, 0) ON CONFLICT DO NOTHING")


@dataclass(frozen=True, slots=True)
class Total:
    """Something that is counted by label when it ends: `count` returns how many ended within a time, by label."""

    task: str
    ended_at: InstrumentedAttribute[float | None]
    count: Callable[[Session, ColumnElement[bool]], Counter[str]]


def _endings(session: Session, ended: ColumnElement[bool]) -> Counter[str]:
    query = select(AttemptRow.ending, func.count()).where(ended, AttemptRow.ending.is_not(None))
    return Counter({str(ending): number for ending, number in session.execute(query.group_by(AttemptRow.ending))})


def _warnings(session: Session, ended: ColumnElement[bool]) -> Counter[str]:
    """Count the warnings of jobs by their codes; rows without any are not read."""
    query = select(JobRow.warnings).where(ended, cast(JobRow.warnings, String) != "[]")
    return Counter(warning["code"] for warnings in session.scalars(query) for warning in warnings)


ATTEMPTS = Total("total attempts", AttemptRow.ended_at, _endings)
WARNINGS = Total("total warnings", JobRow.finished_at, _warnings)
TOTALS = (ATTEMPTS, WARNINGS)


def read_total(session: Session, total: Total) -> Counter[str]:
    """Return how many there have been by label: what was added up, and what has ended since."""
    row = session.get(HousekeepingRow, total.task)
    return _counts(row) + total.count(session, total.ended_at > _reached(row))


def add_up(session: Session, total: Total) -> bool:
    """Add what has ended up to LAG_SECONDS ago to a total, some of it; return whether there is more."""
    row = _locked(session, total.task)
    until = _now(session) - LAG_SECONDS
    until, is_all = _bound(session, total.ended_at, _reached(row), until, _MAX_COUNTED)
    ended = (total.ended_at > _reached(row)) & (total.ended_at <= until)
    row.counts = dict(_counts(row) + total.count(session, ended))
    row.reached = until
    return not is_all


@dataclass(frozen=True, slots=True)
class Retention:
    """Rows of jobs that are kept for some days after the job's end: all, or all but those that `stay`."""

    task: str
    job_id: InstrumentedAttribute[str]
    number: InstrumentedAttribute[int]
    stay: ColumnElement[bool] | None = None


EVENTS = Retention("remove events", EventRow.job_id, EventRow.seq, EventRow.seq >= JobRow.last_seq)
MEASUREMENTS = Retention("remove measurements", MetricRow.job_id, MetricRow.step)


def remove_old(session: Session, retention: Retention, days: float) -> bool:
    """Remove rows of jobs that ended so many days ago, some of them; return whether there are more."""
    row = _locked(session, retention.task)
    reached, now = _reached(row), _now(session)
    until = min(now - days * _DAY_SECONDS, now - LAG_SECONDS)
    until, is_all = _bound(session, JobRow.finished_at, reached, until, _MAX_JOBS)
    key = (retention.job_id, retention.number)
    old = select(*key).join(JobRow, JobRow.id == retention.job_id)
    old = old.where(JobRow.finished_at > reached, JobRow.finished_at <= until)
    if retention.stay is not None:
        old = old.where(~retention.stay)
    rows = session.execute(old.limit(_MAX_REMOVED)).all()
    for begin in range(0, len(rows), _MAX_NAMED):
        these = tuple_(*key).in_([tuple(each) for each in rows[begin : begin + _MAX_NAMED]])
        session.execute(delete(retention.job_id.class_).where(these).execution_options(synchronize_session=False))
    if len(rows) == _MAX_REMOVED:
        return True
    row.reached = until
    return not is_all


def removed_until(session: Session, retention: Retention) -> float | None:
    """Return up to which time of their end jobs have lost such rows; None: none has."""
    row = session.get(HousekeepingRow, retention.task)
    return row.reached if row else None


def _locked(session: Session, task: str) -> HousekeepingRow:
    session.execute(_NEW_TASK, {"task": task})
    return session.get_one(HousekeepingRow, task, with_for_update=True)


def _now(session: Session) -> float:
    return session.execute(select(db_now())).scalar_one()


def _bound(
    session: Session, ended_at: InstrumentedAttribute[float | None], reached: float, until: float, limit: int
) -> tuple[float, bool]:
    """Return up to when the next rows by time ended, about so many of them, and whether these are all."""
    rest = select(ended_at).where(ended_at > reached, ended_at <= until)
    last: float | None = session.scalar(rest.order_by(ended_at).offset(limit - 1).limit(1))
    return max(reached, until if last is None else last), last is None


def _counts(row: HousekeepingRow | None) -> Counter[str]:
    counts: dict[str, Any] = (row.counts if row else None) or {}
    return Counter(counts)


def _reached(row: HousekeepingRow | None) -> float:
    return (row.reached if row else None) or 0.0
