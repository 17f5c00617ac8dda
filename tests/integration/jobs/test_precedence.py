"""Precedence: a job that has waited for very long comes before turns, one of each project at a time."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from app.artifacts import open_store
from app.db.session import Database
from app.db.tables import JobRow, ProjectRow
from app.jobs import attempts, gangs, transitions, workers
from app.jobs import lease as leases
from app.jobs.attempts import Ending, Lease
from app.jobs.gangs import Seat
from app.jobs.queue_positions import queue_positions
from app.projects.limits import ProjectLimits
from app.settings import Settings
from tests.support.rows import queue_jobs
from tests.support.servers import HANGS, wait_until
from worker.attempt.attempt import Attempt
from worker.attempt.context import JobContext
from worker.attempt.drain import Draining
from worker.attempt.gang import TooFewWorkersError, gather

HOUR = 3600.0
CPU = {"cpu": 2}
GPUS = {"cpu": 2, "cuda": 8}
Queue = Callable[..., list[str]]


@pytest.fixture
def db(settings: Settings, database: Database) -> Iterator[Database]:
    """The database of a service whose patience is an hour, and whose projects run at most four jobs at a time."""
    patient = Database(settings.sql_url, ProjectLimits(patience_seconds=HOUR, max_running_jobs=4))
    yield patient
    patient.close()


@pytest.fixture
def queue(db: Database) -> Queue:
    """Queue jobs of a project that have waited for so many hours; returns their ids."""

    def add(project: str, count: int = 1, hours: float = 0.0, **fields: Any) -> list[str]:
        return queue_jobs(db, project, count, hours * HOUR, **fields)

    return add


def claim(db: Database, worker: str = "w", devices: dict[str, int] | None = None, **options: Any) -> Lease | None:
    with db.writing() as session:
        return leases.claim(session, worker, 60, devices or GPUS, **options)


def claimed(db: Database, worker: str = "w", devices: dict[str, int] | None = None) -> Lease:
    lease = claim(db, worker, devices)
    assert lease is not None
    return lease


def order(db: Database, devices: dict[str, int] | None = None) -> list[str]:
    """The jobs that workers claim one after the other, while none ends."""
    jobs = []
    while (lease := claim(db, devices=devices)) is not None:
        jobs.append(lease.job_id)
    return jobs


def give_back(db: Database, lease: Lease, ending: Ending = "drained") -> None:
    with db.writing() as session:
        leases.requeue(session, lease, "for a test", charged=False, ending=ending)


def test_a_job_that_has_waited_for_long_comes_before_turns(database: Database, db: Database, queue: Queue) -> None:
    """A large job of a busy project, beside small ones of another project that runs none."""
    queue("busy", 3)
    for _ in range(3):
        claimed(db)
    (large,) = queue("busy", hours=2, device="cuda", devices=8, priority=-100)
    (small,) = queue("idle", hours=0.5)
    with database.reading() as session:
        assert session.scalar(select(ProjectRow.precedence_id).where(ProjectRow.id == "busy")) is None
    lease = claim(database)  # without patience
    assert lease is not None
    assert lease.job_id == small
    (small,) = queue("idle", hours=0.5)
    assert claimed(db, devices=CPU).job_id == small, "the others run what they can"
    assert claimed(db).job_id == large


def test_of_several_the_longest_waiting_comes_first(db: Database, queue: Queue) -> None:
    ages = {"a": 3, "b": 5, "c": 4, "d": 2}
    jobs = {project: queue(project, hours=hours, priority=-hours)[0] for project, hours in ages.items()}
    (usual,) = queue("e", priority=100)
    assert order(db) == [*(jobs[project] for project in "bcad"), usual]


def test_one_job_of_a_project_runs_by_precedence_at_a_time(db: Database, queue: Queue) -> None:
    """A thousand jobs that were queued yesterday leave the workers to others all the same."""
    flood = queue("flood", 1000, hours=2)
    for project in ("a", "b", "c"):
        queue(project, 2)
    first = claimed(db)
    assert first.job_id in flood
    others = [claimed(db) for _ in range(3)]
    assert not {lease.job_id for lease in others} & set(flood)
    give_back(db, first)  # as one that has ended makes room for the next
    assert claimed(db).job_id in flood


def test_urgency_comes_first_and_caps_hold(db: Database, queue: Queue) -> None:
    (waits,) = queue("a", hours=9)
    (urgent,) = queue("b", urgency=1)
    (later,) = queue("c", hours=9, urgency=-1)
    (usual,) = queue("d")
    queue("full", 4, urgency=2)
    queue("full", hours=99)
    assert order(db)[4:] == [urgent, waits, usual, later]


def test_a_job_that_may_not_start_has_no_precedence(db: Database, queue: Queue) -> None:
    queue("a", hours=9, not_before=time.time() + HOUR)
    queue("b", hours=9, device="cuda")
    queue("c", hours=9, lane="long")
    (short,) = queue("d", lane="short")
    (usual,) = queue("e")
    assert claim(db, devices=CPU, lane="short") is not None
    with db.reading() as session:
        assert session.get_one(JobRow, short).status == "preparing"
        (third,) = session.scalars(select(JobRow.id).where(JobRow.project_id == "c"))
    assert order(db, CPU) == [third, usual]


@pytest.mark.one_database("postgresql")
def test_a_job_that_is_being_cancelled_is_passed(db: Database, queue: Queue) -> None:
    """Writers of SQLite wait for each other."""
    oldest, older = queue("a", hours=3) + queue("a", hours=2)
    with db.writing() as cancelling:
        transitions.cancel(cancelling, oldest)
        assert claimed(db).job_id == older


def test_places_in_the_queue_count_what_has_precedence(db: Database, queue: Queue) -> None:
    jobs = queue("e", 2, hours=4)
    jobs.remove(claimed(db).job_id)  # its project runs a job by precedence, and has a turn for the other
    jobs += [*queue("a", 2), *queue("b", 2, hours=2, priority=-3), *queue("b", priority=5)]
    jobs += [*queue("c", hours=3), *queue("c", 2, hours=2, priority=7)]
    jobs += [*queue("d", 3, priority=-7), *queue("d", urgency=3)]
    with db.reading() as session:
        places = queue_positions(session, [session.get_one(JobRow, job) for job in jobs])
    assert [places[job] for job in order(db)] == list(range(len(jobs)))


@pytest.mark.one_database("postgresql")
def test_places_are_counted_though_the_first_job_is_claimed_meanwhile(db: Database, queue: Queue) -> None:
    first, second = queue("a", hours=4) + queue("b", hours=3)
    leased: list[str] = []

    def claim_before_queues(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "AS peers" in statement and not leased:
            leased.append(claimed(db).job_id)

    event.listen(db.engine, "before_cursor_execute", claim_before_queues)
    with db.reading() as session:
        rows = [session.get_one(JobRow, job) for job in (first, second)]
        places = queue_positions(session, rows)
    event.remove(db.engine, "before_cursor_execute", claim_before_queues)
    assert leased == [first]
    assert places.keys() == {first, second}


@pytest.mark.parametrize(("status", "waits_on"), [("preparing", True), ("running", False)])
def test_waiting_begins_anew_once_a_job_has_run(db: Database, queue: Queue, status: Any, waits_on: bool) -> None:
    (job,) = queue("a", hours=2)
    lease = claimed(db)
    with db.writing() as session:
        leases.move(session, lease, status)
    give_back(db, lease)
    with db.reading() as session:
        row = session.get_one(JobRow, job)
        assert (row.queued_at < time.time() - HOUR) == waits_on


def test_a_job_that_was_paused_waits_from_its_resumption(db: Database, queue: Queue) -> None:
    (job,) = queue("a", hours=2, status="paused")
    with db.writing() as session:
        assert transitions.resume(session, job)
    (other,) = queue("b", hours=1.5)
    assert order(db) == [other, job]


def test_the_service_waits_for_a_day(settings: Settings) -> None:
    assert settings.project_limits.patience_seconds == 24 * HOUR


# Gangs


def sit(db: Database, worker: str, devices: dict[str, int] | None = None) -> Seat | None:
    with db.writing() as session:
        return gangs.take_seat(session, worker, 60, devices or CPU)


def holds(db: Database, lease: Lease) -> bool:
    with db.reading() as session:
        return gangs.holds(session, lease)


def sign_in(db: Database, names: str, devices: dict[str, int] | None = None) -> None:
    with db.writing() as session:
        for worker in names:
            workers.sign_in(session, worker, devices or CPU)


def test_a_gang_that_has_waited_keeps_its_workers(db: Database, queue: Queue) -> None:
    sign_in(db, "abc")
    queue("a", hours=0.5, nodes=3)
    lease = claimed(db, "a", CPU)
    assert not holds(db, lease)
    with db.writing() as session:
        session.execute(update(JobRow).values(queued_at=time.time() - 2 * HOUR))
    assert sit(db, "b") is not None
    assert holds(db, lease)
    with db.writing() as session:
        workers.sign_out(session, "c")
    assert not holds(db, lease), "two workers are too few"


def test_waiting_goes_on_where_a_gang_gathers_in_vain(db: Database, queue: Queue) -> None:
    sign_in(db, "abc")
    (job,) = queue("a", hours=0.99, nodes=3)
    patience = []
    for _ in range(2):
        lease = claimed(db, "a", CPU)
        with db.reading() as session:
            patience.append(gangs.patience(session, lease, 60))
        give_back(db, lease, "too_few_workers")
    with db.writing() as session:
        change = update(JobRow).where(JobRow.id == job)
        session.execute(change.values(queued_at=JobRow.queued_at - 60))
    queue("b", priority=9)
    lease = claimed(db, "a", CPU)
    assert lease.job_id == job
    with db.reading() as session:
        patience.append(gangs.patience(session, lease, 60))
    assert patience == [60, 120, 60]


def test_workers_that_the_gang_cannot_use_are_not_waited_for(db: Database, queue: Queue) -> None:
    """Those without GPUs, where a gang for GPUs has lost a worker."""
    sign_in(db, "abc")
    sign_in(db, "gh", GPUS)
    queue("a", hours=2, nodes=2, device="cuda")
    lease = claimed(db, "g", GPUS)
    assert holds(db, lease)
    with db.writing() as session:
        workers.sign_out(session, "h")
    assert not holds(db, lease)


@pytest.mark.parametrize(
    ("other", "lets_go"),
    [
        ({}, False),
        ({"priority": 100}, False),
        ({"urgency": 1}, True),
        ({"urgency": 1, "device": "cuda"}, False),
        ({"urgency": 1, "devices": 3}, False),
        ({"urgency": 1, "not_before": 1e12}, False),
        ({"urgency": 1, "nodes": 2}, True),
        ({"urgency": 1, "nodes": 4}, False),
    ],
)
def test_a_gang_lets_its_workers_go_for_what_is_more_urgent(
    db: Database, queue: Queue, other: dict[str, Any], lets_go: bool
) -> None:
    sign_in(db, "abc")
    queue("a", hours=2, nodes=3)
    lease = claimed(db, "a", CPU)
    assert sit(db, "b") is not None
    queue("b", **other)
    assert holds(db, lease) != lets_go
    is_single = lets_go and "nodes" not in other
    assert (sit(db, "c") is None) == is_single, "a free worker starts the more urgent job"
    assert sit(db, "b") is not None, "a worker keeps the seat that it has"


def test_a_gang_that_has_begun_is_not_asked(db: Database, queue: Queue) -> None:
    sign_in(db, "ab")
    queue("a", hours=2, nodes=2)
    lease = claimed(db, "a", CPU)
    sit(db, "b")
    with db.writing() as session:
        gangs.begin(session, lease, 2)
        states = [gangs.state_of(session, lease).state]
        gangs.part(session, lease)
        states.append(gangs.state_of(session, lease).state)
    assert states == ["whole", "whole"]
    assert not holds(db, lease)


def test_time_that_a_gang_gathers_is_no_time_of_its_job(db: Database, queue: Queue) -> None:
    sign_in(db, "ab")
    (job,) = queue("a", nodes=2, config={"resources": {"max_seconds": 600.0}})

    def gather(ending: Ending | None) -> Lease:
        lease = claimed(db, "a", CPU)
        with db.writing() as session:
            assert gangs.state_of(session, lease).state == "gathering"
            session.execute(update(attempts.AttemptRow).values(started_at=time.time() - HOUR))
        if ending is not None:
            give_back(db, lease, ending)
        return lease

    def seconds_left() -> float:
        with db.reading() as session:
            return attempts.seconds_left(session, job) or 0.0

    gather("too_few_workers")
    assert seconds_left() == 600
    lease = gather(None)
    sit(db, "b")
    with db.writing() as session:
        gangs.begin(session, lease, 2)
    give_back(db, lease)
    assert 590 < seconds_left() <= 600


@pytest.mark.parametrize("hours", [0, 2])
def test_a_leader_waits_on_with_the_workers_that_it_has(
    db: Database, queue: Queue, settings: Settings, tmp_path: Path, hours: int
) -> None:
    sign_in(db, "ab")
    (job,) = queue("a", hours=hours, nodes=2)
    with db.reading() as session:
        row = session.get_one(JobRow, job)
    attempt = Attempt(db, open_store(settings), claimed(db, "a", CPU))
    quick = settings.model_copy(update={"gang_seconds": 0.5})
    context = JobContext(attempt, row, tmp_path, Draining(), quick)
    with ThreadPoolExecutor(1) as leader:
        gang = leader.submit(gather, context)
        if hours == 0:
            with pytest.raises(TooFewWorkersError):
                gang.result(HANGS)
            return

        def has_waited() -> bool:
            with db.reading() as session:
                phase = session.scalar(select(JobRow.phase).where(JobRow.id == job)) or ""
            seconds = re.fullmatch(r"gathering workers: 1 of 2 \((\d+) s\)", phase)
            return seconds is not None and int(seconds[1]) >= 2

        wait_until(has_waited, "it gathers for longer than half a second")
        assert sit(db, "b") is not None
        gathered = gang.result(HANGS)
        assert gathered is not None
        assert gathered.count == 2
