"""The SQL of trials."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.tables import JobRow, TrialRow
from app.jobs.states import TERMINAL


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial as SQL has it, with the state of its job."""

    number: int
    job_id: str
    status: str
    values: dict[str, Any]
    metric: float | None
    pruned: bool
    rungs: list[float]
    error: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in TERMINAL


def trials(session: Session, sweep_id: str) -> list[TrialRecord]:
    """Return all trials of a sweep by number."""
    query = (
        select(TrialRow, JobRow.status, JobRow.error)
        .join(JobRow, JobRow.id == TrialRow.job_id)
        .where(TrialRow.sweep_id == sweep_id)
        .order_by(TrialRow.number)
    )
    return [
        TrialRecord(row.number, row.job_id, status, row.values, row.metric, row.pruned, row.rungs, error)
        for row, status, error in session.execute(query)
    ]


def add(session: Session, sweep_id: str, job_id: str, number: int, values: dict[str, Any]) -> None:
    """Note what a job tries."""
    session.add(TrialRow(job_id=job_id, sweep_id=sweep_id, number=number, values=values, rungs=[], pruned=False))
    session.flush()


def of_job(session: Session, job_id: str) -> TrialRow:
    """Return the trial that a job is."""
    return session.get_one(TrialRow, job_id)


def at_rung(session: Session, sweep_id: str, rung: int, besides: str) -> list[float]:
    """Return the metrics with which the other trials of a sweep came to a rung."""
    query = select(TrialRow.rungs).where(TrialRow.sweep_id == sweep_id, TrialRow.job_id != besides)
    return [rungs[rung] for rungs in session.scalars(query) if len(rungs) > rung]


def forget_candidates(session: Session, sweep_id: str) -> None:
    """Delete what models could be registered from, of all trials of a sweep."""
    change = update(TrialRow).where(TrialRow.sweep_id == sweep_id).values(candidate=None)
    session.execute(change.execution_options(synchronize_session=False))
