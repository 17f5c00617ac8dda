"""Watches one trainer: renews its job's lease, tells it to stop where it must, and says how it ended."""

import logging
import time
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Database
from app.jobs import attempts
from app.jobs import lease as leases
from app.jobs.attempts import Lease
from app.settings import Settings
from worker.process.drain import StopReason
from worker.process.hang_detector import Watchdog
from worker.process.trainer_process import TrainerProcess

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
_DRAIN_SECONDS = 30.0
_MAX_BEAT_SECONDS = 5.0  # a cancel or a pause is seen with a beat
_AWAY = "unknown"


class Flag(Protocol):
    """Something that is set or not, as threading's and multiprocessing's events."""

    def is_set(self) -> bool:
        """Tell which."""


@dataclass(frozen=True, slots=True)
class End:
    """How a trainer ended: by itself with a code, or for a reason for which it has to be killed."""

    code: int | None
    reason: StopReason | Literal["exit", "stopped", "lost", "stalled", "out_of_memory"] = "exit"


class Watch:
    """One trainer at one job."""

    def __init__(
        self, settings: Settings, database: Database, lease: Lease, trainer: TrainerProcess, draining: Flag
    ) -> None:
        self._settings = settings
        self._database = database
        self._lease = lease
        self._trainer = trainer
        self._draining = draining
        self._watchdog = Watchdog(trainer.pid, settings.stall_seconds)
        self._every = min(settings.lease_seconds / 4, _MAX_BEAT_SECONDS)
        self._asked: StopReason | None = None
        self._deadline: float | None = None
        self._overdue_at = self._time_limit()

    def until_it_ends(self) -> End:
        """Wait for the trainer; where it has not ended by itself, it is to be killed."""
        beaten = time.monotonic()
        while (code := self._trainer.wait(_LOOK_SECONDS)) is None:
            now = time.monotonic()
            if self._draining.is_set():
                self._ask("shutdown")
            if self._overdue_at is not None and now > self._overdue_at:
                self._ask("time_limit")
            if now - beaten >= self._every:
                beaten = now
                if (end := self._beat()) is not None:
                    return end
            if self._deadline is not None and now > self._deadline:
                log.warning("job %s: the trainer did not stop by itself", self._lease.job_id)
                return End(None, self._asked or "stopped")
        return End(code)

    def _ask(self, reason: StopReason) -> None:
        """Ask the trainer to stop, once, and give it its time."""
        if self._asked is None:
            self._asked = reason
            self._trainer.drain(reason)
            self._deadline = self._deadline or time.monotonic() + _DRAIN_SECONDS

    def _beat(self) -> End | None:
        """Renew the lease and heed what the job's row says; return an end where there is one."""
        status, told = self._renewed()
        if status is None:
            if (code := self._trainer.wait(self._every)) is None:
                log.warning("job %s: the lease is lost", self._lease.job_id)
                return End(None, "lost")
            return End(code)
        if status == _AWAY:
            self._watchdog.forgive()
        elif self._watchdog.bark(told):
            log.warning("job %s: the trainer hangs", self._lease.job_id)
            return End(None, "stalled")
        if status == "pausing":
            self._ask("pause")
        if status == "cancelling" and self._deadline is None:
            self._deadline = time.monotonic() + self._settings.cancel_grace_seconds
        return None

    def _renewed(self) -> tuple[str | None, object]:
        """The job's status and what it tells; while the database is away nobody else can claim the job either."""
        try:
            with self._database.writing() as session:
                status = leases.beat(session, self._lease, self._settings.lease_seconds)
                return status, leases.told(session, self._lease)
        except SQLAlchemyError as error:
            log.warning("job %s: the lease could not be renewed: %s", self._lease.job_id, error)
            return _AWAY, None

    def _time_limit(self) -> float | None:
        try:
            with self._database.reading() as session:
                left = attempts.seconds_left(session, self._lease.job_id)
        except SQLAlchemyError as error:
            log.warning("job %s: its time limit is unknown: %s", self._lease.job_id, error)
            return None
        return None if left is None else time.monotonic() + left
