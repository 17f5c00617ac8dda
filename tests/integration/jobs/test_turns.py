"""Fair turns between projects: one project's jobs, however many or important, hold no other's up."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, update

from app.db.session import Database
from app.db.tables import JobRow, ProjectRow
from app.jobs import attempts, transitions, turns
from app.jobs import lease as leases
from app.jobs.attempts import Lease
from app.jobs.queue_positions import queue_positions
from app.jobs.transitions import JobError
from app.kit.ids import new_id
from app.projects.limits import ProjectLimits
from app.settings import Settings
from tests.support.rows import queue_jobs

FAILED = JobError(code="diverged", category="user", message="It diverged.")
Queue = Callable[..., list[str]]


@pytest.fixture
def queue(database: Database) -> Queue:
    """Queue jobs of a project, which is made where there is none yet; returns their ids."""
    return partial(queue_jobs, database)


def take(database: Database, **options: Any) -> Lease | None:
    with database.writing() as session:
        return leases.claim(session, "w1", 60, **options)


def taken(database: Database) -> Lease:
    lease = take(database)
    assert lease is not None
    return lease


def project_of(database: Database, lease: Lease) -> str:
    with database.reading() as session:
        return session.get_one(JobRow, lease.job_id).project_id


def fail(database: Database, lease: Lease) -> None:
    with database.writing() as session:
        leases.finish(session, lease, "failed", "It diverged.", FAILED)


def served(database: Database, count: int) -> list[str]:
    """The projects whose jobs one worker does in turn, each of which fails at once."""
    projects = []
    for _ in range(count):
        lease = taken(database)
        projects.append(project_of(database, lease))
        fail(database, lease)
    return projects


def limit(database: Database, project: str, **limits: float) -> None:
    with database.writing() as session:
        session.execute(update(ProjectRow).where(ProjectRow.id == project).values(**limits))


def position(database: Database, job: str) -> int | None:
    with database.reading() as session:
        return queue_positions(session, [session.get_one(JobRow, job)]).get(job)


@pytest.mark.parametrize("priority", [0, 100])
def test_a_thousand_failing_jobs_hold_no_other_project_up(database: Database, queue: Queue, priority: int) -> None:
    queue("noisy", 1000, priority=priority)
    assert served(database, 3) == ["noisy"] * 3
    (quiet,) = queue("quiet", priority=-100)
    assert position(database, quiet) == 0
    lease = taken(database)
    assert lease.job_id == quiet
    fail(database, lease)
    assert served(database, 2) == ["noisy"] * 2


def test_projects_with_work_are_served_alternately(database: Database, queue: Queue) -> None:
    for project in ("a", "b", "c"):
        queue(project, 4)
    assert served(database, 12) == ["a", "b", "c"] * 4
    assert take(database) is None


def test_a_project_that_waited_gets_its_turn_and_no_more(database: Database, queue: Queue) -> None:
    """To be idle earns no credit: after its turn it waits as the others do."""
    queue("a", 20)
    assert served(database, 10) == ["a"] * 10
    queue("b", 10)
    assert served(database, 6) == ["b", "a"] * 3


def test_who_runs_fewest_jobs_is_next(database: Database, queue: Queue) -> None:
    queue("a", 6)
    running = [taken(database) for _ in range(3)]
    queue("b", 6)
    order = [project_of(database, taken(database)) for _ in range(3)]
    assert order == ["b", "b", "b"], "until both run as many"
    assert [project_of(database, taken(database)) for _ in range(2)] == ["a", "b"]
    assert {project_of(database, lease) for lease in running} == {"a"}


def test_priorities_order_a_projects_own_jobs(database: Database, queue: Queue) -> None:
    low, high, usual = (queue("a", priority=priority)[0] for priority in (-5, 50, 0))
    (other,) = queue("b")
    assert [taken(database).job_id for _ in range(4)] == [high, other, usual, low]


def test_only_what_an_administrator_calls_urgent_comes_before_turns(database: Database, queue: Queue) -> None:
    queue("a", 3)
    queue("b", 3, priority=100)
    urgent = queue("b", urgency=5)
    assert [position(database, job) for job in urgent] == [0]
    assert taken(database).job_id == urgent[0]


def test_a_short_job_of_another_project_is_next_in_the_short_lane(database: Database, queue: Queue) -> None:
    queue("noisy", 50, lane="short", priority=100)
    fail(database, taken(database))
    (quiet,) = queue("quiet", lane="short")
    lease = take(database, lane="short")
    assert lease is not None
    assert lease.job_id == quiet


def test_a_job_that_nobody_can_run_costs_its_project_no_turn(database: Database, queue: Queue) -> None:
    queue("a", priority=9, device="cuda")
    (runs,) = queue("a")
    queue("b", priority=9, not_before=time.time() + 3600)
    assert [lease and lease.job_id for lease in (take(database, devices={"cpu": 1}) for _ in range(2))] == [runs, None]


def test_a_project_runs_no_more_jobs_than_it_may(database: Database, queue: Queue) -> None:
    queue("a", 5)
    limit(database, "a", max_running_jobs=2)
    first = taken(database)
    taken(database)
    assert take(database) is None
    with database.reading() as session:
        assert not leases.has_claimable(session, leases.ONE_EACH, "long")
        assert not leases.waiting(session, -1.0), "nobody is rung for what may not start"
        assert set(leases.longest_waits(session).values()) == {0.0}
        assert turns.max_running(session, "a") == 2
    (other,) = queue("b")
    assert taken(database).job_id == other
    fail(database, first)
    with database.reading() as session:
        assert leases.waiting(session, -1.0)
        assert turns.max_running(session, "a") is None
    assert project_of(database, taken(database)) == "a"


def test_the_services_cap_holds_where_a_project_has_none_of_its_own(settings: Settings, database: Database) -> None:
    capped = Database(settings.sql_url, ProjectLimits(max_running_jobs=1))
    with capped.writing() as session:
        for project, own in (("a", None), ("free", 0), ("wide", 2)):
            session.add(ProjectRow(id=project, name=project, created_at=0.0, max_running_jobs=own))
            session.flush()
            values = {"kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}}
            values |= {"project_id": project, "created_at": 0.0, "queued_at": 0.0}
            session.execute(insert(JobRow), [{"id": new_id("job"), **values} for _ in range(4)])
    projects = []
    while (lease := take(capped)) is not None:
        projects.append(project_of(database, lease))
    assert {name: projects.count(name) for name in ("a", "free", "wide")} == {"a": 1, "free": 4, "wide": 2}
    capped.close()


def test_many_workers_at_once_keep_to_the_cap_and_to_turns(database: Database, queue: Queue) -> None:
    queue("a", 20)
    queue("b", 20)
    limit(database, "a", max_running_jobs=3)
    claimed: list[str] = []

    def work() -> None:
        for _ in range(3):
            lease = take(database)
            if lease is not None:
                claimed.append(project_of(database, lease))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (claimed.count("a"), claimed.count("b")) == (3, 15)


def test_positions_are_those_in_which_jobs_start(database: Database, queue: Queue) -> None:
    jobs = [*queue("a", 5), *queue("b", 2, priority=7), *queue("c", 3, priority=-7)]
    queue("waiting", wakes_at=0, sweep_id=None)
    fail(database, taken(database))
    places = {job: position(database, job) for job in jobs}
    with database.writing() as session:  # a sweep whose trials run starts nothing
        session.execute(update(JobRow).where(JobRow.project_id == "waiting").values(status="paused"))
    order = []
    while (lease := take(database)) is not None:
        order.append(lease.job_id)
        fail(database, lease)
    assert [places[job] for job in order] == list(range(9))


def test_a_job_that_is_being_cancelled_holds_no_claim_up(database: Database, queue: Queue) -> None:
    """A claim passes the row that somebody changes at this moment; where that is all there is, it finds none."""
    if database.url.startswith("sqlite"):
        pytest.skip("writers of SQLite wait for each other")
    (best,) = queue("a")
    (other,) = queue("b")
    with database.writing() as cancelling:
        transitions.cancel(cancelling, best)
        assert taken(database).job_id == other
        assert take(database) is None


def test_a_job_without_a_limit_of_its_own_has_that_of_its_project(
    settings: Settings, database: Database, queue: Queue
) -> None:
    (own,), (none,) = queue("a", config={"resources": {"max_seconds": 5.0}}), queue("a")
    limited = Database(settings.sql_url, ProjectLimits(job_seconds=60.0))

    def seconds(job: str) -> float | None:
        with limited.reading() as session:
            return attempts.seconds_left(session, job)

    assert (seconds(own), seconds(none)) == (5.0, 60.0)
    limit(database, "a", job_seconds=7.0)
    assert (seconds(own), seconds(none)) == (5.0, 7.0)
    limit(database, "a", job_seconds=0)
    assert (seconds(own), seconds(none)) == (5.0, None)
    limited.close()


def test_all_urgent_jobs_of_others_are_counted(database: Database, queue: Queue) -> None:
    (first,) = queue("a")
    queue("b", 10, urgency=1)
    assert position(database, first) == 10


def test_a_job_that_is_claimed_while_its_place_is_counted_has_none(database: Database, queue: Queue) -> None:
    (job,) = queue("a")
    with database.reading() as session:
        row = session.get_one(JobRow, job)
        assert queue_positions(session, [row]) == {row.id: 0}
        session.expunge(row)
    taken(database)
    with database.reading() as session:
        assert queue_positions(session, [row]) == {}
