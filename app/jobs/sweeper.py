"""The sweeper: a thread in every API and worker process that takes back jobs of dead workers, and rings again.

It is idempotent and needs no leader. While the database is away nobody can renew a lease, so after its return a whole
lease is waited before anything is swept: a restart of the database costs no attempt.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.jobs import lease
from app.queue import JobQueue
from app.settings import Settings

log = logging.getLogger(__name__)

RING_AGAIN_SECONDS = 5.0


class Sweeper(PeriodicThread):
    """Sweeps every `sweep_seconds`; `idle` is called after each sweep (a worker checks for unrung work then)."""

    stop_seconds = 35.0  # a drained job writes its checkpoint within less

    def __init__(
        self, database: Database, queue: JobQueue, settings: Settings, idle: Callable[[], None] | None = None
    ) -> None:
        super().__init__("sweeper", settings.sweep_seconds)
        self._database = database
        self._queue = queue
        self._settings = settings
        self._idle = idle
        self._patient_until = 0.0
        self._swept_at = time.time()

    def act(self) -> None:
        """Sweep, and do what is done after each sweep, whatever came of the other."""
        self._notice_sleep()
        self._unless_away(self.sweep_once)
        if self._idle is not None:
            self._unless_away(self._idle)

    def _unless_away(self, action: Callable[[], None]) -> None:
        """Run `action`; whatever goes wrong is logged, and tried again after `sweep_seconds`."""
        try:
            action()
        except (OperationalError, PoolTimeoutError) as error:
            log.warning("the database is away: %s", error)
            self._be_patient()
        except Exception:
            log.exception("a sweep failed; the next is in %s s", self._settings.sweep_seconds)

    def _be_patient(self) -> None:
        """Give every worker a whole lease to renew its own: none could while the database was away."""
        self._patient_until = time.monotonic() + self._settings.lease_seconds

    def _notice_sleep(self) -> None:
        """Wait a whole lease after this process was stopped, or its machine slept: leases ran out meanwhile."""
        now = time.time()
        if now - self._swept_at > self._settings.sweep_seconds + self._settings.lease_seconds / 4:
            self._be_patient()
        self._swept_at = now

    def sweep_once(self) -> None:
        """Sweep expired leases, and ring if work has waited for long."""
        swept, unrung = self._database.transact(self._sweep_and_check)
        if swept:
            log.warning("%d jobs of silent workers were taken back", swept)
        if swept or unrung:
            self._queue.ring()

    def _sweep_and_check(self, session: Session) -> tuple[int, bool]:
        swept = 0 if time.monotonic() < self._patient_until else self._sweep(session)
        return swept, lease.waiting(session, RING_AGAIN_SECONDS)

    def _sweep(self, session: Session) -> int:
        return lease.sweep(session, self._settings.max_attempts, self._settings.backoff_seconds)
