"""Events as server-sent events, of a job or of a project: `id` says where a broken stream goes on.

Any process may append events, so the database is polled: once for all streams of a process, however many there are.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from fastapi.sse import format_sse_event
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app import events
from app.db.session import Database, db_now
from app.events import ProjectEvents
from app.jobs import repository, service
from app.jobs.followed import Followed
from app.jobs.project_stream import (
    LATE_SECONDS,
    FollowedProject,
    ProjectLine,
    ProjectNews,
    poll,
    read_since,
)
from app.jobs.states import TERMINAL
from app.keys.service import Principal, valid_keys

AnyFollowed = TypeVar("AnyFollowed", bound=Followed)
log = logging.getLogger(__name__)

RETRY_MILLISECONDS = 2000
PING_SECONDS = 15.0
POLL_SECONDS = 0.25
QUIET_POLL_SECONDS = 1.0
_QUIET_SECONDS = 10.0  # without a new event of any job that is followed, after which the database is asked less often
_KEY_SECONDS = 3.0  # after which a stream of a revoked key ends, at the latest
_MAX_KEPT = 256  # newest events of a job that streams share


class _Line(NamedTuple):
    seq: int
    text: bytes  # the event's wire form


@dataclass
class _Job(Followed):
    """A job that is followed: its newest events, and whether it has ended."""

    last_seq: int | None = None  # None until the first poll
    has_ended: bool = False
    lines: deque[_Line] = field(default_factory=lambda: deque(maxlen=_MAX_KEPT))

    def lines_after(self, seq: int) -> list[_Line] | None:
        """Return the lines above a number; None where they have to be read from the database."""
        if self.last_seq is None:
            return None
        if seq >= self.last_seq:
            return []
        if not self.lines or self.lines[0].seq > seq + 1:
            return None
        return [line for line in self.lines if line.seq > seq]


class Followers:
    """The event streams of one event loop, which share one poll of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: dict[str, _Job] = {}
        self._projects: dict[str, FollowedProject] = {}
        self._keys: dict[str, int] = {}  # how many streams each key has
        self._invalid: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def lines(self, job_id: str, after: int, principal: Principal, seconds: float) -> AsyncIterator[bytes]:
        """Yield the wire form of a job's events above a number, and a comment after `PING_SECONDS` without one.

        Ends with the job, with the key's validity, or after `seconds`; whoever asks again goes on without a gap.
        """
        yield format_sse_event(comment="following", retry=RETRY_MILLISECONDS)
        ends_at = time.monotonic() + seconds
        with self._following(self._jobs, job_id, _Job, principal.key_id) as job:
            has_ended = False
            while time.monotonic() < ends_at and principal.key_id not in self._invalid:
                has_news = job.news  # before the look, so that nothing is missed
                shared = job.lines_after(after)
                if shared is None:
                    lines, has_ended = await run_in_threadpool(self._read, job_id, after)
                else:
                    lines = shared
                for line in lines:
                    yield line.text
                    after = line.seq
                if not lines and (has_ended or job.has_ended):
                    return
                if not lines and not await _comes(has_news, ends_at):
                    yield format_sse_event(comment="ping")

    async def project_lines(
        self, selection: ProjectEvents, principal: Principal, seconds: float
    ) -> AsyncIterator[bytes]:
        """Yield the wire form of the events of a project's jobs, and comments as `lines` does.

        Ends with the key's validity, after `seconds`, or where the client reads too slowly; whoever asks again with
        the last id goes on, and may get the events of the last seconds again.
        """
        project_id = principal.project_id
        since = await run_in_threadpool(self._since, selection)
        begin = f"{since!r}~~0" if selection.after is None else None  # a stream may break before its first event
        yield format_sse_event(comment="following", retry=RETRY_MILLISECONDS, id=begin)
        ends_at = time.monotonic() + seconds
        with self._following(self._projects, project_id, FollowedProject, principal.key_id) as project:
            while project.newest is None:  # what the first poll has seen is read here, and what is new comes by polls
                if not await _comes(project.news, ends_at):
                    return
            count, lines = project.count, await run_in_threadpool(self._read_project, project_id, since)
            sent = {line.key for line in lines}
            while time.monotonic() < ends_at and principal.key_id not in self._invalid:
                for line in (line for line in lines if line.is_in(selection)):
                    yield line.text
                has_news = project.news
                fresh = project.lines_after(count)
                if fresh is None:
                    return
                count, lines = project.count, [line for line in fresh if line.key not in sent]
                if not fresh and not await _comes(has_news, ends_at):
                    yield format_sse_event(comment="ping")

    @contextmanager
    def _following(
        self, group: dict[str, AnyFollowed], name: str, new: Callable[[], AnyFollowed], key_id: str
    ) -> Iterator[AnyFollowed]:
        followed = group.setdefault(name, new())
        followed.streams += 1
        self._keys[key_id] = self._keys.get(key_id, 0) + 1
        if self._task is None:
            self._task = asyncio.create_task(self._poll_all())
        try:
            yield followed
        finally:
            followed.streams -= 1
            if not followed.streams:
                del group[name]
            self._keys[key_id] -= 1
            if not self._keys[key_id]:
                del self._keys[key_id]
                self._invalid.discard(key_id)

    async def _poll_all(self) -> None:
        """Poll until nobody follows anything."""
        changed_at = asked_for_keys_at = time.monotonic()
        try:
            while self._jobs or self._projects:
                seen = {job_id: job.last_seq for job_id, job in self._jobs.items()}
                now = time.monotonic()
                keys = list(self._keys) if now - asked_for_keys_at > _KEY_SECONDS else []
                asked_for_keys_at = now if keys else asked_for_keys_at
                try:
                    found, invalid = await run_in_threadpool(self._poll, seen, keys) if seen or keys else ({}, set())
                    newest = {name: project.newest for name, project in self._projects.items()}
                    news = await run_in_threadpool(self._poll_projects, newest) if newest else {}
                except SQLAlchemyError as error:
                    log.warning("streams of events wait for the database: %s", type(error).__name__)
                    found, invalid, news = {}, set(), {}
                if self._take_news(found, invalid) | self._take_project_news(news):
                    changed_at = now
                is_quiet = now - changed_at > _QUIET_SECONDS
                await asyncio.sleep(QUIET_POLL_SECONDS if is_quiet else POLL_SECONDS)
        finally:
            self._task = None

    def _take_news(self, found: dict[str, tuple[int, bool, list[_Line]]], invalid: set[str]) -> bool:
        """Hand what a poll has found to the streams; return whether it was anything."""
        has_news = False
        self._invalid |= invalid & self._keys.keys()
        for job_id, (last_seq, has_ended, lines) in found.items():
            job = self._jobs.get(job_id)
            if job is None:
                continue
            is_new = job.last_seq != last_seq or job.has_ended != has_ended
            job.last_seq, job.has_ended = last_seq, has_ended
            job.lines.extend(lines)
            if is_new:
                has_news = True
                job.notify()
        if invalid:
            for followed in (*self._jobs.values(), *self._projects.values()):
                followed.notify()
        return has_news

    def _take_project_news(self, news: dict[str, ProjectNews]) -> bool:
        """Hand the events of projects to the streams; return whether there was any new one."""
        followed = [(self._projects[name], it) for name, it in news.items() if name in self._projects]
        changed = [project for project, it in followed if project.take(it)]
        for project in changed:
            project.notify()
        return bool(changed)

    def _poll_projects(self, newest: dict[str, float | None]) -> dict[str, ProjectNews]:
        with self._database.reading() as session:
            return {name: poll(session, name, time_of_newest) for name, time_of_newest in newest.items()}

    def _read_project(self, project_id: str, since: float) -> list[ProjectLine]:
        with self._database.reading() as session:
            return read_since(session, project_id, since)

    def _since(self, selection: ProjectEvents) -> float:
        """Return the time after which a stream's events are."""
        if selection.after is not None:
            return selection.after[0] - LATE_SECONDS
        with self._database.reading() as session:
            return session.execute(select(db_now())).scalar_one()

    def _poll(
        self, seen: dict[str, int | None], keys: list[str]
    ) -> tuple[dict[str, tuple[int, bool, list[_Line]]], set[str]]:
        """Return for each job its last event's number, whether it has ended, and the events above `seen`."""
        found: dict[str, tuple[int, bool, list[_Line]]] = {}
        with self._database.reading() as session:
            states = repository.last_events(session, list(seen))
            for job_id, before in seen.items():
                last_seq, status = states.get(job_id, (before or 0, None))
                lines = []
                if before is not None and last_seq > before:
                    lines = [_line(row) for row in events.since(session, job_id, before, _MAX_KEPT)]
                    last_seq = lines[-1].seq if lines else before
                found[job_id] = (last_seq, status is None or status in TERMINAL, lines)
            invalid = set(keys) - valid_keys(session, keys) if keys else set()
        return found, invalid

    def _read(self, job_id: str, after: int) -> tuple[list[_Line], bool]:
        """Return the events above a number, and whether the job had ended before they were read."""
        with self._database.reading() as session:
            status = repository.last_events(session, [job_id]).get(job_id, (0, None))[1]
            return [_line(row) for row in events.since(session, job_id, after)], status is None or status in TERMINAL


async def _comes(news: asyncio.Event, ends_at: float) -> bool:
    """Wait for news, until a comment is due or the stream ends; return whether there are any."""
    try:
        await asyncio.wait_for(news.wait(), max(0.0, min(PING_SECONDS, ends_at - time.monotonic())))
    except TimeoutError:
        return False
    return True


def _line(row: repository.EventRow) -> _Line:
    data = service.render_event(row).model_dump_json()
    return _Line(row.seq, format_sse_event(data_str=data, event=row.type, id=str(row.seq)))


class Streams:
    """The followers of each event loop: a server has one, and tests may have several."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: dict[asyncio.AbstractEventLoop, Followers] = {}

    async def lines(self, job_id: str, after: int, principal: Principal, seconds: float) -> AsyncIterator[bytes]:
        """Yield as `Followers.lines` does."""
        async for line in self._of_loop().lines(job_id, after, principal, seconds):
            yield line

    async def project_lines(
        self, selection: ProjectEvents, principal: Principal, seconds: float
    ) -> AsyncIterator[bytes]:
        """Yield as `Followers.project_lines` does."""
        async for line in self._of_loop().project_lines(selection, principal, seconds):
            yield line

    def _of_loop(self) -> Followers:
        loop = asyncio.get_running_loop()
        if loop not in self._followers:
            self._followers = {other: kept for other, kept in self._followers.items() if not other.is_closed()}
            self._followers[loop] = Followers(self._database)
        return self._followers[loop]
