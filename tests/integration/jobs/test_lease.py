"""The lease protocol on both databases: who works on a job, and whose writes count."""

import threading
import time
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event, select, update

from app import events
from app.db.session import Database
from app.db.tables import DatasetRow, EventRow, JobRow, ProjectRow
from app.jobs import lease as leases
from app.jobs import transitions
from app.jobs.attempts import Lease
from app.jobs.lease import CancelledError, LeaseLostError
from app.jobs.states import LEASED, LEGAL, TERMINAL
from app.jobs.sweeper import Sweeper
from app.jobs.transitions import JobError
from app.kit.ids import new_id
from app.queue import MemoryQueue
from app.settings import Settings

PROJECT = "prj_test"


@pytest.fixture
def db(database: Database) -> Database:
    with database.writing() as session:
        session.add(ProjectRow(id=PROJECT, name="test", created_at=0.0))
    return database


def add_job(db: Database, **fields: Any) -> str:
    values: dict[str, Any] = {
        "id": new_id("job"),
        "project_id": PROJECT,
        "kind": "pretraining",
        "status": "queued",
        "config": {},
        "job_metadata": {},
        "created_at": time.time(),
        "queued_at": time.time(),
    }
    with db.writing() as session:
        session.add(JobRow(**{**values, **fields}))
    return str(fields.get("id", values["id"]))


def take(db: Database, seconds: float = 60, owner: str = "w1") -> Lease | None:
    with db.writing() as session:
        return leases.claim(session, owner, seconds)


def read(db: Database, job_id: str) -> JobRow:
    with db.reading() as session:
        return session.get_one(JobRow, job_id)


def types(db: Database, job_id: str) -> list[str]:
    with db.reading() as session:
        return [each.type for each in events.since(session, job_id, 0)]


def test_the_lane_of_short_jobs_takes_no_other(db: Database) -> None:
    long = add_job(db, priority=5)
    short = [add_job(db, kind="preparation", lane="short", priority=priority) for priority in (0, 1)]
    later = add_job(db, lane="short", not_before=time.time() + 3600)
    gpu = add_job(db, lane="short", device="cuda")

    def look_and_take() -> tuple[bool, str | None]:
        with db.writing() as session:
            is_there = leases.has_claimable(session, leases.ONE_EACH | {"cuda": 0}, "short")
            lease = leases.claim(session, "w1", 60, leases.ONE_EACH | {"cuda": 0}, lane="short")
        return is_there, lease and lease.job_id

    assert [look_and_take() for _ in range(3)] == [(True, short[1]), (True, short[0]), (False, None)]
    taken = take(db)
    assert taken is not None
    assert taken.job_id == long
    assert {read(db, job).status for job in (later, gpu)} == {"queued"}


def test_a_look_at_an_idle_lane_counts_no_running_jobs(db: Database) -> None:
    """Each busy worker looks once a second: among a thousand that costs more than all else if it counts them."""
    add_job(db)
    add_job(db)
    take(db)
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda _c, _k, statement, *_: statements.append(statement.lower()))
    with db.reading() as session:
        assert not leases.has_claimable(session, leases.ONE_EACH, "short")
        assert statements
        assert not any("count(" in statement for statement in statements)
        assert leases.has_claimable(session, leases.ONE_EACH, "long")
        assert any("count(" in statement for statement in statements)


def test_the_best_job_is_claimed_first(db: Database) -> None:
    first = add_job(db)
    urgent = add_job(db, priority=5)
    add_job(db, not_before=time.time() + 3600)
    taken = [take(db), take(db), take(db)]
    assert [lease and lease.job_id for lease in taken] == [urgent, first, None]
    row = read(db, urgent)
    assert (row.status, row.token, row.attempts, row.owner) == ("preparing", 1, 1, "w1")
    assert row.lease_until is not None
    assert 50 < row.lease_until - time.time() < 70


def test_many_claimers_never_take_a_job_twice(db: Database) -> None:
    jobs = {add_job(db) for _ in range(60)}
    taken: list[str] = []
    failures: list[BaseException] = []

    def claim_all(owner: str) -> None:
        try:
            while (lease := take(db, owner=owner)) is not None:
                taken.append(lease.job_id)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=claim_all, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert Counter(taken) == Counter(jobs)


def test_a_beat_renews_and_tells_the_status(db: Database) -> None:
    add_job(db)
    lease = take(db, seconds=30)
    assert lease is not None
    with db.writing() as session:
        assert leases.beat(session, lease, 100) == "preparing"
    row = read(db, lease.job_id)
    assert row.lease_until is not None
    assert row.lease_until > time.time() + 50


def test_a_silent_worker_loses_its_job_and_its_writes_count_no_more(db: Database) -> None:
    job = add_job(db)
    zombie = take(db, seconds=0.01)
    assert zombie is not None
    time.sleep(0.05)
    with db.writing() as session:
        assert leases.sweep(session, 3) == 1
    assert read(db, job).status == "queued"
    heir = take(db, owner="w2")
    assert heir is not None
    assert (heir.token, heir.attempt) == (2, 2)
    with db.writing() as session:
        leases.move(session, heir, "running")
    before = read(db, job)
    with db.writing() as session:
        assert leases.beat(session, zombie, 60) is None
    for write in (
        lambda session: leases.write(session, zombie, metrics={"stolen": 1}),
        lambda session: leases.move(session, zombie, "finalizing"),
        lambda session: leases.finish(session, zombie, "failed", "no"),
        lambda session: leases.requeue(session, zombie, "no", charged=True),
        lambda session: leases.hold(session, zombie),
    ):
        with pytest.raises(LeaseLostError), db.writing() as session:
            write(session)
    with db.writing() as session:
        leases.abandon(session, zombie, 3, "no")
    after = read(db, job)
    assert (after.status, after.metrics, after.last_seq) == (before.status, None, before.last_seq)


def test_a_live_lease_is_not_swept(db: Database) -> None:
    add_job(db)
    take(db, seconds=60)
    with db.writing() as session:
        assert leases.sweep(session, 3) == 0


def test_a_poisonous_job_fails_after_its_attempts(db: Database) -> None:
    job = add_job(db)
    for _ in range(3):
        assert take(db, seconds=0.01) is not None
        time.sleep(0.03)
        with db.writing() as session:
            leases.sweep(session, 3, backoff=0)
    row = read(db, job)
    assert (row.status, row.attempts) == ("failed", 3)
    assert row.error is not None
    assert (row.error["code"], row.error["category"]) == ("worker_lost", "platform")
    assert row.finished_at is not None
    assert take(db) is None


def test_an_uncharged_requeue_gives_the_attempt_back(db: Database) -> None:
    add_job(db)
    lease = take(db)
    assert lease is not None
    with db.writing() as session:
        leases.requeue(session, lease, "drained", charged=False)
    row = read(db, lease.job_id)
    assert (row.status, row.attempts, row.token, row.lease_until) == ("queued", 0, 1, None)


def test_cancel_of_a_queued_job_ends_it(db: Database) -> None:
    job = add_job(db)
    with db.writing() as session:
        assert transitions.cancel(session, job) == "cancelled"
    assert read(db, job).status == "cancelled"
    assert take(db) is None
    with db.writing() as session:
        assert transitions.cancel(session, job) is None


@pytest.mark.parametrize("at", ["preparing", "running", "finalizing"])
def test_cancel_of_a_worked_on_job_stops_every_further_write(db: Database, at: str) -> None:
    job = add_job(db)
    lease = take(db)
    assert lease is not None
    with db.writing() as session:
        for status in ("running", "finalizing")[: ["preparing", "running", "finalizing"].index(at)]:
            leases.move(session, lease, status)
    with db.writing() as session:
        assert transitions.cancel(session, job) == "cancelling"
        assert transitions.cancel(session, job) == "cancelling"
    with db.writing() as session:
        assert leases.beat(session, lease, 60) == "cancelling"
    for write in (
        lambda session: leases.write(session, lease, metrics={"late": 1}),
        lambda session: leases.move(session, lease, "running"),
        lambda session: leases.finish(session, lease, "succeeded", "late"),
        lambda session: leases.finish(session, lease, "failed", "late"),
    ):
        with pytest.raises(CancelledError), db.writing() as session:
            write(session)
    with db.writing() as session:
        leases.finish(session, lease, "cancelled", "Cancelled.")
    row = read(db, job)
    assert (row.status, row.metrics) == ("cancelled", None)
    assert types(db, job).count("job.cancelling") == 1


def test_done_wins_over_a_later_cancel(db: Database) -> None:
    job = add_job(db)
    lease = take(db)
    assert lease is not None
    with db.writing() as session:
        leases.move(session, lease, "running")
        leases.move(session, lease, "finalizing")
        leases.finish(session, lease, "succeeded", "Done.")
    with db.writing() as session:
        assert transitions.cancel(session, job) is None
    assert read(db, job).status == "succeeded"


def test_a_job_whose_worker_dies_while_cancelling_is_cancelled(db: Database) -> None:
    job = add_job(db)
    take(db, seconds=0.01)
    with db.writing() as session:
        transitions.cancel(session, job)
    time.sleep(0.03)
    with db.writing() as session:
        leases.sweep(session, 3)
    assert read(db, job).status == "cancelled"


def test_a_refused_write_changes_nothing_of_its_transaction(db: Database) -> None:
    job = add_job(db)
    lease = take(db)
    assert lease is not None
    with db.writing() as session:
        transitions.cancel(session, job)
    seq = read(db, job).last_seq

    def tell_and_hold() -> None:
        with db.writing() as session:
            events.append(session, job, "made.up", "must vanish")
            leases.hold(session, lease)

    with pytest.raises(CancelledError):
        tell_and_hold()
    assert read(db, job).last_seq == seq
    assert "made.up" not in types(db, job)


def test_a_failed_preparation_fails_its_dataset(db: Database) -> None:
    with db.writing() as session:
        row = DatasetRow(
            id="ds_1", project_id=PROJECT, name="d", status="preparing", filename="f", options={},
            source_sha256="0", source_bytes=1, created_at=0.0,
        )  # fmt: skip
        session.add(row)
    job = add_job(db, kind="preparation", dataset_id="ds_1")
    with db.writing() as session:
        session.execute(update(DatasetRow).values(job_id=job))
    lease = take(db)
    assert lease is not None
    error = JobError(code="worker_lost", category="platform", message="It died.")
    with db.writing() as session:
        leases.finish(session, lease, "failed", "It died.", error)
    with db.reading() as session:
        dataset = session.scalars(select(DatasetRow)).one()
    assert dataset.status == "failed"
    assert dataset.error == {"code": "worker_lost", "message": "It died.", "errors": []}


def test_event_numbers_have_no_gaps_under_concurrency(db: Database) -> None:
    job = add_job(db)
    failures: list[BaseException] = []

    def tell(number: int) -> None:
        try:
            for index in range(20):
                with db.writing() as session:
                    events.append(session, job, "told", f"{number}.{index}")
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with db.reading() as session:
        rows = list(session.scalars(select(EventRow.seq).where(EventRow.job_id == job).order_by(EventRow.seq)))
    assert rows == list(range(1, 81))


def test_the_sweeper_takes_back_and_rings(db: Database) -> None:
    job = add_job(db)
    take(db, seconds=0.01)
    time.sleep(0.03)
    queue = MemoryQueue()
    Sweeper(db, queue, Settings()).sweep_once()
    assert read(db, job).status == "queued"
    assert queue.rings == 1


def test_the_sweeper_rings_for_what_was_never_rung(db: Database) -> None:
    queue = MemoryQueue()
    sweeper = Sweeper(db, queue, Settings())
    add_job(db)
    sweeper.sweep_once()
    assert queue.rings == 0
    add_job(db, queued_at=time.time() - 60)
    sweeper.sweep_once()
    assert queue.rings == 1


def test_the_drawn_states_are_sound() -> None:
    assert set(LEGAL) == LEASED | TERMINAL | {"queued", "paused"}
    assert not LEGAL["succeeded"]
    for status in TERMINAL - {"succeeded"}:
        assert LEGAL[status] == {"queued"}
    for status in LEASED - {"cancelling"}:
        assert {"cancelling", "failed"} <= LEGAL[status]
        assert LEGAL[status] & {"queued", "paused"}


class BadQueue:
    """A queue whose every ring fails in a way that nobody foresaw."""

    def __init__(self) -> None:
        self.rings = 0

    def ring(self) -> bool:
        self.rings += 1
        raise RuntimeError

    def poll(self) -> None:
        self.ring()


def test_the_sweeper_outlives_what_nobody_foresaw(db: Database) -> None:
    add_job(db, queued_at=time.time() - 60)
    queue, idle = BadQueue(), BadQueue()
    sweeper = Sweeper(db, queue, Settings(sweep_seconds=0.02), idle=idle.poll)
    sweeper.start()
    deadline = time.monotonic() + 240
    while min(queue.rings, idle.rings) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    sweeper.stop()
    assert min(queue.rings, idle.rings) >= 3


def test_a_sweeper_that_slept_itself_takes_nobodys_job(db: Database) -> None:
    job = add_job(db)
    take(db, seconds=0.01)
    time.sleep(0.05)
    sweeper = Sweeper(db, MemoryQueue(), Settings(sweep_seconds=1, lease_seconds=4))
    sweeper._swept_at -= 100  # as after a night with the lid closed
    sweeper._notice_sleep()
    sweeper.sweep_once()
    assert read(db, job).status == "preparing"
