"""What queued jobs wait for, as an answer tells it: their places in the queue, and whether a worker can run them."""

from collections.abc import Sequence
from functools import cached_property

from sqlalchemy.orm import Session

from app.jobs import gangs, turns, workers
from app.jobs.queue_positions import queue_positions
from app.jobs.repository import JobRow


class Waiting:
    """What each of some jobs waits for; what is the same for several of them is read once."""

    def __init__(self, session: Session, jobs: Sequence[JobRow]) -> None:
        self._session = session
        self._positions = queue_positions(session, jobs)
        self._max_running: dict[str, int | None] = {}

    def position(self, job: JobRow) -> int | None:
        """Return how many jobs start before this one, None once it has started."""
        return self._positions.get(job.id)

    def reason(self, job: JobRow) -> str | None:
        """Say which worker, or whose end, a queued job waits for; None where a worker that can run it was seen."""
        if job.status != "queued" or job.wakes_at is not None:
            return None
        return self._missing_worker(job) or self._missing_gang(job) or self._full(job.project_id)

    def _missing_worker(self, job: JobRow) -> str | None:
        devices = self._devices
        if not devices:
            return "A worker: none was seen in the last two minutes."
        if job.device not in devices:
            return f"A worker with {job.device}: none was seen in the last two minutes."
        if job.devices > (most := devices[job.device]):
            return f"A worker with {job.devices} devices ({job.device}): the most that one has is {most}."
        return None

    def _missing_gang(self, job: JobRow) -> str | None:
        return gangs.waiting_for(self._session, job) if job.nodes > 1 else None

    @cached_property
    def _devices(self) -> dict[str, int]:
        return workers.devices_seen(self._session)

    def _full(self, project_id: str) -> str | None:
        if project_id not in self._max_running:
            self._max_running[project_id] = turns.max_running(self._session, project_id)
        if (maximum := self._max_running[project_id]) is None:
            return None
        return f"A job of its project to end: it runs {maximum}, as many as it may at the same time."
