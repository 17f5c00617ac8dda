"""The heartbeat of one trainer's job: renews the lease, passes on requests to stop, and says how the trainer ended."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db.session import Database
from app.jobs import attempts, gangs
from app.jobs import lease as leases
from app.jobs.attempts import Lease
from app.jobs.gangs import Seat
from app.settings import Settings
from worker.attempt.drain import StopReason
from worker.attempt.exit_codes import RANK_OUT_OF_MEMORY
from worker.process.hang_detector import HangDetector
from worker.process.trainer_process import TrainerProcess

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
DRAIN_SECONDS = 30.0  # that a trainer has to save and end by itself
MAX_BEAT_SECONDS = 5.0  # a cancel or a pause is seen with a beat
_DATABASE_AWAY = "unknown"
_ALONE = gangs.State(state="whole")


class Flag(Protocol):
    """Something that is set or not, as threading's and multiprocessing's events."""

    def is_set(self) -> bool:
        """Return whether it is set."""


@dataclass(frozen=True, slots=True)
class TrainerExit:
    """How a trainer ended: by itself with a code, or for a reason for which it has to be killed."""

    code: int | None
    reason: StopReason | Literal["exit", "stopped", "lost", "stalled", "out_of_memory", "member_lost"] = "exit"


class Heartbeat:
    """The heartbeat of one trainer at one job.

    `reserve` takes a seat in a gang whose job goes before this one; then this job is given back, and the seat held
    until its worker is free.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        lease: Lease,
        trainer: TrainerProcess,
        draining: Flag,
        reserve: Callable[[Session, Lease], Seat | None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._lease = lease
        self._trainer = trainer
        self._draining = draining
        self._reserve = reserve
        self._seat: Seat | None = None
        self._hang_detector = HangDetector(trainer.pid, settings.stall_seconds)
        self._interval = min(settings.lease_seconds / 4, MAX_BEAT_SECONDS)
        self._stop_reason: StopReason | None = None  # once the trainer was asked to stop
        self._kill_at: float | None = None  # unless it ends by itself before
        self._overdue_at = self._time_limit()

    def run(self) -> TrainerExit:
        """Beat until the trainer ends; where the exit has no code, it is to be killed."""
        last_beat = time.monotonic()
        while (code := self._trainer.wait(POLL_SECONDS)) is None:
            now = time.monotonic()
            if self._draining.is_set():
                self._stop("shutdown")
            if self._overdue_at is not None and now > self._overdue_at:
                self._stop("time_limit")
            if now - last_beat >= self._interval:
                last_beat = now
                if (end := self._beat()) is not None:
                    return end
            if self._kill_at is not None and now > self._kill_at:
                log.warning("job %s: the trainer did not stop by itself", self._lease.job_id)
                return TrainerExit(None, self._stop_reason or "stopped")
        return TrainerExit(code)

    def _stop(self, reason: StopReason) -> None:
        """Tell the trainer to save and end, once, and give it `DRAIN_SECONDS`."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self._trainer.drain(reason)
            self._kill_at = self._kill_at or time.monotonic() + DRAIN_SECONDS

    def _beat(self) -> TrainerExit | None:
        """Renew the lease and act on the job's status; return how the trainer ended, None where it goes on."""
        status, report, gang = self._renew_lease()
        if status is None:
            # The trainer may have ended its job itself a moment ago, which loses the lease as well.
            if (code := self._trainer.wait(self._interval)) is None:
                log.warning("job %s: the lease is lost", self._lease.job_id)
                return TrainerExit(None, "lost")
            return TrainerExit(code)
        if status == _DATABASE_AWAY:
            self._hang_detector.reset()
        elif self._hang_detector.is_hung(report):
            log.warning("job %s: the trainer hangs", self._lease.job_id)
            return TrainerExit(None, "stalled")
        if gang.state == "broken":
            log.warning("job %s: a worker of its gang is lost", self._lease.job_id)
            is_short = gang.exit_code == RANK_OUT_OF_MEMORY
            return TrainerExit(RANK_OUT_OF_MEMORY) if is_short else TrainerExit(None, "member_lost")
        if gang.state == "leaving":
            self._stop("shutdown")
        if self._seat is not None:
            self._stop("preempted")
        if status == "pausing":
            self._stop("pause")
        if status == "cancelling" and self._kill_at is None:
            self._kill_at = time.monotonic() + self._settings.cancel_grace_seconds
        return None

    def _renew_lease(self) -> tuple[str | None, object, gangs.State]:
        """Return the job's status, None where the lease is lost, what the job reports, and how its gang is.

        While the database is away nobody else can claim the job either.
        """
        try:
            with self._database.writing() as session:
                status = leases.beat(session, self._lease, self._settings.lease_seconds)
                gang = gangs.state_of(session, self._lease) if self._lease.nodes > 1 else _ALONE
                self._seat = self._reserve(session, self._lease)
                report = leases.activity(session, self._lease)
        except SQLAlchemyError as error:
            log.warning("job %s: the lease could not be renewed: %s", self._lease.job_id, error)
            return _DATABASE_AWAY, None, _ALONE
        if gang.state == "gathering":
            self._overdue_at = self._time_limit()  # the job's time begins once all are there
        return status, report, gang

    def _time_limit(self) -> float | None:
        """When the job will have run for as long as it may, by the monotonic clock; None where it has no limit."""
        try:
            with self._database.reading() as session:
                seconds_left = attempts.seconds_left(session, self._lease.job_id)
        except SQLAlchemyError as error:
            log.warning("job %s: its time limit is unknown: %s", self._lease.job_id, error)
            return None
        return None if seconds_left is None else time.monotonic() + seconds_left
