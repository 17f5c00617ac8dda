"""The sweeper: a thread in every API and worker process that takes back jobs of dead workers, and rings again.

Sweeping is idempotent and needs no leader. While the database is away nobody can renew a lease, so after its return a
whole lease is waited before anything is swept: a restart of the database costs no attempt.

For jobs that wait one process rings at a time: whichever sweeps first, a second or more after the last ring. Where it
ends, the others' own sweeps come next.
"""

import logging
import math
import time
from collections.abc import Callable

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from app.db import housekeeping
from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.jobs import lease, workers
from app.queue import JobQueue
from app.settings import Settings

log = logging.getLogger(__name__)

RING_AGAIN_SECONDS = 5.0  # a job that waits for longer is rung for, and each idle worker reached once in so long
_PAUSE_SECONDS = 1.0  # between rings of two processes: each process's own sweep comes after it
_RING = "ring"  # the task's name


class Sweeper(PeriodicThread):
    """Sweeps every `sweep_seconds`; `idle` is called after each sweep (a worker checks for unrung work then)."""

    stop_seconds = 35.0  # a drained job writes its checkpoint within less

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        settings: Settings,
        idle: Callable[[], None] | None = None,
        *,
        rings: bool = True,
    ) -> None:
        super().__init__("sweeper", settings.sweep_seconds)
        self._database = database
        self._queue = queue
        self._settings = settings
        self._idle = idle
        self._rings = rings  # False: nobody would hear it, and another process shall
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
        swept, is_waiting = self._database.transact(self._sweep_and_check)
        if swept:
            log.warning("%d jobs of silent workers were taken back", swept)
            self._queue.ring()
        elif is_waiting and self._rings:
            self._ring_again()

    def _sweep_and_check(self, session: Session) -> tuple[int, bool]:
        swept = 0 if time.monotonic() < self._patient_until else self._sweep(session)
        return swept, lease.waiting(session, RING_AGAIN_SECONDS)

    def _ring_again(self) -> None:
        """Ring, unless another process has done so just now; where no ring arrives, leave it to others."""
        if not all(self._queue.ring() for _ in range(self._take_rings())):
            self._database.transact(lambda session: housekeeping.release(session, _RING))

    def _take_rings(self) -> int:
        """Return how many rings are this process's to send.

        A ring wakes one idle worker, whether it can run what waits or not: in RING_AGAIN_SECONDS there are as many as
        idle workers.
        """
        with self._database.reading() as session:
            elapsed = housekeeping.seconds_since(session, _RING)
        if elapsed is not None and elapsed < _PAUSE_SECONDS:
            return 0
        if not self._database.transact(
            lambda session: housekeeping.begin(session, _RING, _PAUSE_SECONDS, at_once=True)
        ):
            return 0
        with self._database.reading() as session:
            idle = workers.count_idle(session)
        share = 1.0 if elapsed is None else min(1.0, elapsed / RING_AGAIN_SECONDS)
        return max(1, math.ceil(share * idle))

    def _sweep(self, session: Session) -> int:
        return lease.sweep(session, self._settings.max_attempts, self._settings.backoff_seconds)
