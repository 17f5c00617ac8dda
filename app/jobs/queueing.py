"""How a job enters the queue. No torch: the doors that know what they ask for need no kinds."""

import logging
from collections.abc import Callable
from functools import partial

from sqlalchemy.orm import Session

from app import events, failpoints
from app.db.session import after_commit
from app.errors import TooManyError
from app.jobs import repository
from app.jobs.interface import JobColumns
from app.jobs.repository import JobRow
from app.kit import logs
from app.queue import JobQueue
from app.storage.quotas import refuse_full
from app.webhooks import outbox

log = logging.getLogger(__name__)

Resolve = Callable[[Session, str], JobColumns]


def check_room(session: Session, project_id: str, max_unfinished: int) -> None:
    """Check whether a further job may be queued.

    Raises:
        TooManyError: too many jobs of the project are unfinished.
        QuotaError: the project has used up its quota of disk or rows.
    """
    if repository.has_unfinished(session, project_id, max_unfinished):
        msg = f"{max_unfinished} jobs of this project are unfinished; wait for some or cancel them."
        raise TooManyError(msg, code="too_many_jobs")
    refuse_full(session, project_id)


def enqueue(session: Session, queue: JobQueue, project_id: str, columns: JobColumns) -> JobRow:
    """Add a queued job and its first event; a worker is rung once that is committed."""
    row = repository.add(session, project_id, columns, logs.trace.get())
    events.append(session, row.id, "job.queued", "Queued.")
    outbox.warned(session, row.id, (warning.model_dump(mode="json") for warning in columns.warnings))
    after_commit(session, partial(log.info, "job %s is queued", row.id))
    session.refresh(row)
    after_commit(session, partial(failpoints.reach, "submit.committed"))
    after_commit(session, queue.ring)
    failpoints.reach("submit.before_commit")
    return row
