"""While a job waits, one process rings at a time, for every idle worker, and none is needed for it."""

import time

import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import HousekeepingRow, JobRow, WorkerRow
from app.jobs import workers
from app.jobs.sweeper import Sweeper
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.rows import own_project
from tests.support.servers import wait_until

pytestmark = pytest.mark.usefixtures("waiting")
CPU = {"cpu": 1}


def add_job(database: Database, name: str, **fields: object) -> None:
    fixed = {"kind": "pretraining", "config": {}, "job_metadata": {}, "created_at": 1.0, "queued_at": 1.0}
    with database.writing() as session:
        session.add(JobRow(id=f"job_{name}", project_id=own_project(session).id, **fixed, **fields))


@pytest.fixture
def waiting(database: Database) -> None:
    """A job that nobody was rung for."""
    add_job(database, "waits", status="queued")


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def sweepers(database: Database, queue: MemoryQueue) -> list[Sweeper]:
    """Those of as many processes."""
    return [Sweeper(database, queue, Settings()) for _ in range(20)]


def pass_time(database: Database, seconds: float) -> None:
    with database.writing() as session:
        session.execute(update(HousekeepingRow).values(begun_at=HousekeepingRow.begun_at - seconds))


def sign_in(database: Database, count: int) -> None:
    with database.writing() as session:
        for number in range(count):
            workers.sign_in(session, f"w{number}", CPU)


def test_of_many_processes_one_rings(database: Database, sweepers: list[Sweeper], queue: MemoryQueue) -> None:
    sweepers[0].sweep_once()
    pass_time(database, -3600)
    for sweeper in sweepers:
        sweeper.sweep_once()
    assert queue.rings == 1
    pass_time(database, 3602)
    sweepers[7].sweep_once()
    assert queue.rings == 2, "whichever comes first: the one that rang before may have ended"


def test_each_idle_worker_is_rung_once_in_five_seconds(
    database: Database, sweepers: list[Sweeper], queue: MemoryQueue
) -> None:
    sign_in(database, 12)
    with database.writing() as session:
        session.execute(update(WorkerRow).where(WorkerRow.id == "w0").values(seen_at=1.0))
    add_job(database, "runs", status="running", owner="w1", lease_until=4e9)
    sweepers[0].sweep_once()
    assert queue.rings == 10, "one has not been seen for long, and one works"
    pass_time(database, 2.4)
    sweepers[1].sweep_once()
    rings = queue.rings
    assert 15 <= rings < 20, "half of the time, half of the workers"
    pass_time(database, 60)
    sweepers[2].sweep_once()
    assert queue.rings == rings + 10, "and never more than there are"


def test_who_is_not_heard_leaves_the_ring_to_others(database: Database) -> None:
    unheard, heard = MemoryQueue(), MemoryQueue()
    Sweeper(database, unheard, Settings(), rings=False).sweep_once()
    Sweeper(database, heard, Settings()).sweep_once()
    assert (unheard.rings, heard.rings) == (0, 1)


class DeadQueue(MemoryQueue):
    """A queue whose broker is away."""

    def ring(self) -> bool:
        super().ring()
        return False


def test_who_does_not_reach_the_broker_leaves_the_ring_to_others(database: Database) -> None:
    dead, heard = DeadQueue(), MemoryQueue()
    sign_in(database, 3)
    Sweeper(database, dead, Settings()).sweep_once()
    Sweeper(database, heard, Settings()).sweep_once()
    assert (dead.rings, heard.rings) == (1, 3)


@pytest.mark.one_database("postgresql")
def test_nobody_waits_for_a_process_that_stopped_while_it_rang(
    database: Database, sweepers: list[Sweeper], queue: MemoryQueue
) -> None:
    sweepers[0].sweep_once()
    pass_time(database, 2)
    with database.writing() as stopped:
        stopped.execute(update(HousekeepingRow).values(begun_at=HousekeepingRow.begun_at))
        began = time.monotonic()
        sweepers[1].sweep_once()
        assert time.monotonic() - began < 5, "lock_timeout is twice that"
        assert queue.rings == 1


def test_the_end_of_one_does_not_stop_the_rings(database: Database) -> None:
    queue, settings = MemoryQueue(), Settings(sweep_seconds=0.1)
    first, second = Sweeper(database, queue, settings), Sweeper(database, queue, settings)
    first.start()
    wait_until(lambda: queue.rings >= 1, "it rings")
    second.start()
    first.stop()
    rings = queue.rings
    wait_until(lambda: queue.rings >= rings + 2, "the other rings")
    second.stop()
