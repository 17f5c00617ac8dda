"""The heartbeat of a member of a gang: renews its seat while its trainer takes part in another worker's attempt."""

import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Database
from app.jobs import gangs
from app.jobs.gangs import Seat
from app.settings import Settings
from worker.process.heartbeat import DRAIN_SECONDS, MAX_BEAT_SECONDS, POLL_SECONDS, Flag
from worker.process.trainer_process import TrainerProcess

log = logging.getLogger(__name__)


class SeatHeartbeat:
    """The heartbeat of one trainer at one seat."""

    def __init__(
        self, settings: Settings, database: Database, seat: Seat, owner: str, trainer: TrainerProcess, draining: Flag
    ) -> None:
        self._seconds = settings.lease_seconds
        self._database = database
        self._seat = seat
        self._owner = owner
        self._trainer = trainer
        self._draining = draining
        self._renewed_at = time.monotonic()
        self._kill_at: float | None = None  # once the leader was asked to let go

    def run(self) -> int | None:
        """Beat until the trainer ends, and return its code; None where it is to be killed.

        A member that cannot renew its seat for a whole lease gives up: the leader has gone on without it by then.
        """
        interval = min(self._seconds / 4, MAX_BEAT_SECONDS)
        last_beat = time.monotonic()
        while (code := self._trainer.wait(POLL_SECONDS)) is None:
            now = time.monotonic()
            if self._draining.is_set() and self._kill_at is None:
                self._announce_leaving()
            if self._kill_at is not None and now > self._kill_at:
                return None
            if now - last_beat >= interval:
                last_beat = now
                if not self._renew():
                    return None
        return code

    def _announce_leaving(self) -> None:
        self._kill_at = time.monotonic() + DRAIN_SECONDS
        try:
            self._database.transact(lambda session: gangs.announce_leaving(session, self._seat, self._owner))
        except SQLAlchemyError as error:
            log.warning("job %s: the leader does not know that this worker shuts down: %s", self._seat.job_id, error)

    def _renew(self) -> bool:
        try:
            with self._database.writing() as session:
                held = gangs.renew(session, self._seat, self._owner, self._seconds)
        except SQLAlchemyError as error:
            log.warning("job %s: the seat could not be renewed: %s", self._seat.job_id, error)
            return time.monotonic() - self._renewed_at < self._seconds
        if held:
            self._renewed_at = time.monotonic()
        else:
            log.info("job %s: the gang has parted", self._seat.job_id)
        return held
