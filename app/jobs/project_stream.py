"""The events of all jobs of a project as server-sent events; `id` says where a broken stream goes on.

Only events of one job have numbers without gaps. Those of a project are in the order of their times, and a transaction
that began earlier may end later: so each poll looks back `LATE_SECONDS`, and so does a stream that goes on. After a
break events may come again, under the same id; none is left out.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from fastapi.sse import format_sse_event
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import events
from app.db.session import db_now
from app.events import EventKey, Position, ProjectEvents
from app.jobs import service
from app.jobs.followed import Followed

LATE_SECONDS = 10.0  # between the time of an event and its commit, at most
_MAX_KEPT = 1024  # newest events of a project that streams share
_PAGE = 1000


class ProjectLine(NamedTuple):
    """An event's wire form."""

    key: EventKey
    created_at: float
    job_kind: str
    type: str
    text: bytes

    def is_in(self, selection: ProjectEvents) -> bool:
        """Whether it is one of the events that a stream has."""
        return selection.kind in {None, self.job_kind} and selection.type in {None, self.type}


class ProjectNews(NamedTuple):
    """What a poll has seen: events after `since`, some of which earlier polls have seen."""

    since: float
    lines: list[ProjectLine]


@dataclass
class FollowedProject(Followed):
    """A project that is followed: its newest events, in the order in which polls have seen them."""

    newest: float | None = None  # time of the newest event; None until the first poll
    count: int = 0  # of events that polls have seen
    lines: deque[ProjectLine] = field(default_factory=lambda: deque(maxlen=_MAX_KEPT))
    _seen: set[EventKey] = field(default_factory=set)

    def lines_after(self, count: int) -> list[ProjectLine] | None:
        """Return the events that were seen after the first `count`; None where some of them are kept no more."""
        fresh = self.count - count
        return None if fresh > len(self.lines) else list(self.lines)[len(self.lines) - fresh :]

    def take(self, news: ProjectNews) -> bool:
        """Keep what a poll has seen; return whether it was anything new."""
        fresh = [line for line in news.lines if line.key not in self._seen]
        is_first, self.newest = self.newest is None, max([news.since, *(line.created_at for line in news.lines)])
        self._seen = {line.key for line in news.lines}
        if not is_first:
            self.lines.extend(fresh)
            self.count += len(fresh)
        return is_first or bool(fresh)


def poll(session: Session, project_id: str, newest: float | None) -> ProjectNews:
    """Read the newest events of a project; `newest` is the time of the newest that is known."""
    since: float = session.execute(select(db_now())).scalar_one() if newest is None else newest
    return ProjectNews(since, read_since(session, project_id, since - LATE_SECONDS))


def read_since(session: Session, project_id: str, since: float) -> list[ProjectLine]:
    """Return all events of a project after a time."""
    position: Position = (since, "", 0)
    lines = list[ProjectLine]()
    while True:
        rows = events.of_project(session, project_id, position, _PAGE)
        for row, kind in rows:
            event = service.render_project_event(row, kind)
            text = format_sse_event(data_str=event.model_dump_json(), event=row.type, id=event.id)
            lines.append(ProjectLine((row.job_id, row.seq), row.created_at, kind, row.type, text))
        if len(rows) < _PAGE:
            return lines
        position = (row.created_at, row.job_id, row.seq)
