"""Supervises trainers: claims a job, hands it to the warm spare, renews the lease, and cleans up after a death.

Lives in the Celery child and never imports torch: a process that has used OpenMP must not fork, and a GPU is not to be
touched here.
"""

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Database
from app.jobs import lease as leases
from app.jobs.lease import Lease
from app.settings import Settings
from worker.attempt_folder import attempt_folder
from worker.trainer_process import TrainerProcess

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
_DRAIN_SECONDS = 30.0
_CRASH_PAUSE_SECONDS = 1.0
_LONGEST_BEAT_SECONDS = 5.0  # a cancel is seen with a beat


class Flag(Protocol):
    """Something that is set or not, as threading's and multiprocessing's events."""

    def is_set(self) -> bool:
        """Tell which."""


class Supervisor:
    """One slot for one job at a time."""

    def __init__(self, settings: Settings, database: Database, draining: Flag) -> None:
        self._settings = settings
        self._database = database
        self._draining = draining
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._busy = threading.Lock()
        self._spare = TrainerProcess(settings.threads)
        self._polled = time.monotonic()

    def work(self) -> None:
        """Run jobs until none is left; waits for its turn where another thread is at it."""
        with self._busy:
            self._work()

    def poll(self) -> None:
        """Look for work that nobody rang for, every `poll_seconds`, unless busy; a dead broker stops nothing."""
        due = time.monotonic() - self._polled >= self._settings.poll_seconds
        if due and self._busy.acquire(blocking=False):
            try:
                self._work()
            except SQLAlchemyError as error:
                log.warning("the database is away: %s", error)
            finally:
                self._polled = time.monotonic()
                self._busy.release()

    def close(self) -> None:
        """End the spare."""
        self._spare.kill()

    def _work(self) -> None:
        while not self._draining.is_set():
            lease = self._claim()
            if lease is None:
                return
            self._run(lease)

    def _claim(self) -> Lease | None:
        with self._database.writing() as session:
            return leases.claim(session, self._owner, self._settings.lease_seconds)

    def _take_spare(self) -> TrainerProcess:
        """Return the warm trainer and begin to warm the next."""
        trainer = self._spare
        if not trainer.alive():
            trainer.kill()
            trainer = TrainerProcess(self._settings.threads)
        return trainer

    def _run(self, lease: Lease) -> None:
        trainer = self._take_spare()
        try:
            trainer.start(lease)
            self._spare = TrainerProcess(self._settings.threads)
            log.info("job %s, attempt %d: trainer %d", lease.job_id, lease.attempt, trainer.pid)
            code = self._watch(lease, trainer)
        finally:
            trainer.kill()
        self._clean_up(lease, code)

    def _watch(self, lease: Lease, trainer: TrainerProcess) -> int | None:
        """Renew the lease until the trainer ends; None if it had to be stopped."""
        every = min(self._settings.lease_seconds / 4, _LONGEST_BEAT_SECONDS)
        beaten = time.monotonic()
        deadline: float | None = None
        while (code := trainer.wait(_LOOK_SECONDS)) is None:
            now = time.monotonic()
            if self._draining.is_set() and deadline is None:
                trainer.drain()
                deadline = now + _DRAIN_SECONDS
            if now - beaten >= every:
                beaten = now
                status = self._beat(lease)
                if status is None and (code := trainer.wait(every)) is None:
                    log.warning("job %s: the lease is lost", lease.job_id)
                if status is None:
                    return code
                if status == "cancelling" and deadline is None:
                    deadline = now + self._settings.cancel_grace_seconds
            if deadline is not None and now > deadline:
                log.warning("job %s: the trainer did not stop by itself", lease.job_id)
                return None
        return code

    def _beat(self, lease: Lease) -> str | None:
        """Renew; "unknown" while the database is away, when nobody else can claim the job either."""
        try:
            with self._database.writing() as session:
                return leases.beat(session, lease, self._settings.lease_seconds)
        except SQLAlchemyError as error:
            log.warning("job %s: the lease could not be renewed: %s", lease.job_id, error)
            return "unknown"

    def _clean_up(self, lease: Lease, code: int | None) -> None:
        """A trainer closes its job itself; where it could not, do it. The sweeper would, later."""
        if code == 0:
            return

        def abandon() -> None:
            with self._database.writing() as session:
                if code is None and self._draining.is_set():
                    leases.requeue(session, lease, "The worker shut down before the job could be saved.", charged=False)
                    return
                reason = "The trainer was stopped." if code is None else f"The trainer died (exit code {code})."
                leases.abandon(session, lease, self._settings.max_attempts, reason)

        shutil.rmtree(attempt_folder(self._settings, lease), ignore_errors=True)
        _try(abandon)
        time.sleep(_CRASH_PAUSE_SECONDS)


def _try(action: Callable[[], None]) -> None:
    try:
        action()
    except (SQLAlchemyError, leases.LeaseLostError, leases.CancelledError) as error:
        log.warning("left to the sweeper: %s", error)
