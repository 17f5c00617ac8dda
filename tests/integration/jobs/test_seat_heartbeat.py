"""The heartbeat of a member of a gang: it goes on without the database for a lease, and no longer."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from sqlalchemy import select, text

from app.db.session import Database
from app.db.tables import GangMemberRow
from app.jobs import gangs
from app.jobs.attempts import Lease
from app.jobs.gangs import Seat
from app.settings import Settings
from tests.integration.jobs.test_gangs import db, lead_two
from tests.support.servers import wait_until
from worker.process.seat_heartbeat import SeatHeartbeat
from worker.process.trainer_process import TrainerProcess

__all__ = ["db"]  # the fixture


@pytest.fixture
def trainer() -> Iterator[TrainerProcess]:
    """A process that would never end by itself."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    process.returncode = 0  # it is waited for as a trainer, and not here
    trainer = TrainerProcess(process.pid, os.open(os.devnull, os.O_WRONLY))
    yield trainer
    trainer.kill()


class Beating:
    """A heartbeat that beats in a thread, for a lease of so many seconds."""

    def __init__(self, settings: Settings, db: Database, seat: Seat, trainer: TrainerProcess, seconds: float) -> None:
        self.code: int | None = -1000
        beating = settings.model_copy(update={"lease_seconds": seconds})
        heartbeat = SeatHeartbeat(beating, db, seat, "b", trainer, Event())

        def run() -> None:
            self.code = heartbeat.run()

        self._thread = Thread(target=run)
        self._thread.start()

    def has_ended(self) -> bool:
        return not self._thread.is_alive()


@contextmanager
def away(db: Database) -> Iterator[None]:
    """No statement about seats succeeds inside."""
    with db.writing() as session:
        session.execute(text("ALTER TABLE gang_members RENAME TO members_away"))
    yield
    with db.writing() as session:
        session.execute(text("ALTER TABLE members_away RENAME TO gang_members"))


@pytest.fixture
def gang(db: Database) -> tuple[Lease, Seat]:
    return lead_two(db)


def test_it_gives_up_after_a_lease_without_the_database(
    settings: Settings, db: Database, gang: tuple[Lease, Seat], trainer: TrainerProcess
) -> None:
    began = time.monotonic()
    with away(db):
        beating = Beating(settings, db, gang[1], trainer, 2)
        wait_until(beating.has_ended, "it has given up", 60)
    assert beating.code is None, "the trainer is to be killed"
    assert time.monotonic() - began >= 2
    assert trainer.alive()


def test_it_goes_on_where_the_database_is_back_within_a_lease(
    settings: Settings,
    db: Database,
    gang: tuple[Lease, Seat],
    trainer: TrainerProcess,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def leased_until() -> float:
        with db.reading() as session:
            return float(session.scalar(select(GangMemberRow.lease_until).filter_by(worker="b")) or 0)

    before = leased_until()
    with away(db):
        beating = Beating(settings, db, gang[1], trainer, 120)  # a beat every five seconds
        wait_until(lambda: "the seat could not be renewed" in caplog.text, "a beat has failed")
    wait_until(lambda: leased_until() > before, "the seat is renewed")
    assert not beating.has_ended()
    os.kill(trainer.pid, signal.SIGKILL)
    wait_until(beating.has_ended, "it has seen that the trainer is dead")
    assert beating.code == -signal.SIGKILL


def test_it_ends_once_the_gang_has_parted(
    settings: Settings, db: Database, gang: tuple[Lease, Seat], trainer: TrainerProcess
) -> None:
    beating = Beating(settings, db, gang[1], trainer, 2)
    with db.writing() as session:
        gangs.part(session, gang[0])
    wait_until(beating.has_ended, "it has ended")
    assert beating.code is None
