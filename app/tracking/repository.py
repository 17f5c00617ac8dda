"""The SQL of tracking: which jobs are to be written, who writes one, and what is said of it."""

from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.db import housekeeping
from app.db.session import db_now
from app.db.tables import EventRow, JobRow
from app.jobs.states import TERMINAL
from app.ml.spec import WarningItem

WRITTEN, REFUSED = "mlflow.written", "mlflow.refused"  # types of events
_SECONDS = 86_400  # for which jobs are tried


def due(session: Session, kinds: Sequence[str], limit: int) -> list[tuple[str, str]]:
    """Return (project id, id) of jobs of these kinds that ended within a day and were neither written nor refused."""
    event = exists().where(
        EventRow.job_id == JobRow.id, EventRow.type.in_((WRITTEN, REFUSED)), EventRow.created_at >= JobRow.finished_at
    )
    query = select(JobRow.project_id, JobRow.id).where(
        JobRow.status.in_(TERMINAL), JobRow.kind.in_(kinds), JobRow.finished_at > db_now() - _SECONDS, ~event
    )
    rows = session.execute(query.order_by(JobRow.finished_at).limit(limit))
    return [(project_id, job_id) for project_id, job_id in rows]


def hold(session: Session, job_id: str, seconds: float) -> bool:
    """Begin to write a job; False where another process has begun that within `seconds`, and not ended."""
    return housekeeping.begin(session, _task(job_id), seconds, at_once=True)


def release(session: Session, job_id: str) -> None:
    """End what `hold` has begun."""
    housekeeping.release(session, _task(job_id))


def replace_warning(session: Session, job_id: str, code: str, warning: WarningItem | None) -> bool:
    """Let a job have this warning, or none, of its code; return whether it is new."""
    row = session.get(JobRow, job_id, with_for_update=True, populate_existing=True)
    if row is None:
        return False
    others = [item for item in row.warnings if item["code"] != code]
    is_new = warning is not None and len(others) == len(row.warnings)
    row.warnings = others if warning is None else [*others, warning.model_dump(mode="json")]
    return is_new


def _task(job_id: str) -> str:
    return f"mlflow {job_id}"
