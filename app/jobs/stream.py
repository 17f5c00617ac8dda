"""A job's events as server-sent events: `id` is the event's number, so that a broken stream goes on without a gap."""

from collections.abc import AsyncIterator

from fastapi.sse import format_sse_event

from app import events
from app.db.session import Database
from app.jobs import service
from app.jobs.states import TERMINAL

RETRY_MILLISECONDS = 2000


async def event_lines(database: Database, job_id: str, after: int) -> AsyncIterator[bytes]:
    """Yield the wire form of the events above a number until the job ends; a comment while nothing happens."""
    yield format_sse_event(comment="following", retry=RETRY_MILLISECONDS)
    async for row in events.follow(database, job_id, after, frozenset(TERMINAL)):
        if row is None:
            yield format_sse_event(comment="ping")
        else:
            data = service.render_event(row).model_dump_json()
            yield format_sse_event(data_str=data, event=row.type, id=str(row.seq))
