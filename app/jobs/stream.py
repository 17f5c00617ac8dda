"""A job's events as server-sent events: `id` is the event's number, so that a broken stream goes on without a gap.

Any process may append events, so the database is polled: once for all streams of a process, however many there are.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from fastapi.sse import format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app import events
from app.db.session import Database
from app.jobs import repository, service
from app.jobs.states import TERMINAL
from app.keys.service import Principal, valid_keys

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
class _Job:
    """A job that is followed: its newest events, and whether it has ended."""

    last_seq: int | None = None  # None until the first poll
    has_ended: bool = False
    lines: deque[_Line] = field(default_factory=lambda: deque(maxlen=_MAX_KEPT))
    streams: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def lines_after(self, seq: int) -> list[_Line] | None:
        """Return the lines above a number; None where they have to be read from the database."""
        if self.last_seq is None:
            return None
        if seq >= self.last_seq:
            return []
        if not self.lines or self.lines[0].seq > seq + 1:
            return None
        return [line for line in self.lines if line.seq > seq]

    def notify(self) -> None:
        """Wake the streams that wait."""
        self.news.set()
        self.news = asyncio.Event()


class Followers:
    """The event streams of one event loop, which share one poll of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: dict[str, _Job] = {}
        self._keys: dict[str, int] = {}  # how many streams each key has
        self._invalid: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def lines(self, job_id: str, after: int, principal: Principal, seconds: float) -> AsyncIterator[bytes]:
        """Yield the wire form of a job's events above a number, and a comment after `PING_SECONDS` without one.

        Ends with the job, with the key's validity, or after `seconds`; whoever asks again goes on without a gap.
        """
        yield format_sse_event(comment="following", retry=RETRY_MILLISECONDS)
        ends_at = time.monotonic() + seconds
        with self._following(job_id, principal.key_id) as job:
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
                if not lines:
                    patience = min(PING_SECONDS, ends_at - time.monotonic())
                    try:
                        await asyncio.wait_for(has_news.wait(), max(0.0, patience))
                    except TimeoutError:
                        yield format_sse_event(comment="ping")

    @contextmanager
    def _following(self, job_id: str, key_id: str) -> Iterator[_Job]:
        job = self._jobs.setdefault(job_id, _Job())
        job.streams += 1
        self._keys[key_id] = self._keys.get(key_id, 0) + 1
        if self._task is None:
            self._task = asyncio.create_task(self._poll_all())
        try:
            yield job
        finally:
            job.streams -= 1
            if not job.streams:
                del self._jobs[job_id]
            self._keys[key_id] -= 1
            if not self._keys[key_id]:
                del self._keys[key_id]
                self._invalid.discard(key_id)

    async def _poll_all(self) -> None:
        """Poll until nobody follows anything."""
        changed_at = asked_for_keys_at = time.monotonic()
        try:
            while self._jobs:
                seen = {job_id: job.last_seq for job_id, job in self._jobs.items()}
                now = time.monotonic()
                keys = list(self._keys) if now - asked_for_keys_at > _KEY_SECONDS else []
                asked_for_keys_at = now if keys else asked_for_keys_at
                try:
                    found, invalid = await run_in_threadpool(self._poll, seen, keys)
                except SQLAlchemyError as error:
                    log.warning("streams of events wait for the database: %s", type(error).__name__)
                    found, invalid = {}, set()
                if self._take_news(found, invalid):
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
            for job in self._jobs.values():
                job.notify()
        return has_news

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
        loop = asyncio.get_running_loop()
        if loop not in self._followers:
            self._followers = {other: kept for other, kept in self._followers.items() if not other.is_closed()}
            self._followers[loop] = Followers(self._database)
        async for line in self._followers[loop].lines(job_id, after, principal, seconds):
            yield line
