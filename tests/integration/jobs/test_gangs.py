"""Gangs on both databases: who may gather, who takes a seat, and when an attempt of several nodes can go on."""

import threading
import time
from typing import Any

import pytest
from sqlalchemy import select, text, update

from app.db.session import Database
from app.db.tables import CheckpointRow, GangMemberRow, GangRow, JobRow, ProjectRow
from app.jobs import gangs, workers
from app.jobs import lease as leases
from app.jobs.attempts import Ending, Lease
from app.jobs.gangs import PartedError, Seat
from app.kit.ids import new_id
from tests.support.servers import wait_until

PROJECT = "prj_test"
CPU = {"cpu": 2}


@pytest.fixture
def db(database: Database) -> Database:
    with database.writing() as session:
        session.add(ProjectRow(id=PROJECT, name="test", created_at=0.0))
        for worker in "abc":
            workers.sign_in(session, worker, CPU)
    return database


def add_job(db: Database, nodes: int, **fields: Any) -> str:
    now = time.time()
    row = {"project_id": PROJECT, "kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}}
    job = new_id("job")
    with db.writing() as session:
        session.add(JobRow(**{**row, "id": job, "nodes": nodes, "created_at": now, "queued_at": now, **fields}))
    return job


def claim(db: Database, worker: str, devices: dict[str, int] | None = None, **options: Any) -> Lease | None:
    with db.writing() as session:
        return leases.claim(session, worker, 60, devices or CPU, **options)


def lead(db: Database, worker: str = "a") -> Lease:
    lease = claim(db, worker)
    assert lease is not None
    return lease


def sit(db: Database, worker: str, devices: dict[str, int] | None = None, seconds: float = 60) -> Seat | None:
    with db.writing() as session:
        return gangs.take_seat(session, worker, seconds, devices or CPU)


def begin(db: Database, lease: Lease, least: int) -> int | None:
    with db.writing() as session:
        return gangs.begin(session, lease, least)


def state(db: Database, lease: Lease) -> gangs.State:
    with db.reading() as session:
        return gangs.state_of(session, lease)


def renews(db: Database, seat: Seat, worker: str) -> bool:
    with db.writing() as session:
        return gangs.renew(session, seat, worker, 60)


def lead_two(db: Database) -> tuple[Lease, Seat]:
    """A gang of two workers that has begun: the leader's lease, and the seat of worker `b`."""
    add_job(db, 2)
    lease, seat = lead(db), sit(db, "b")
    assert seat is not None
    assert begin(db, lease, 2) == 2
    return lease, seat


def test_all_nodes_begin_or_none(db: Database) -> None:
    add_job(db, 3)
    lease = lead(db)
    assert lease.nodes == 3
    first = sit(db, "b")
    assert (first and first.node, begin(db, lease, 3)) == (1, None)
    second = sit(db, "c")
    assert (second and second.node, sit(db, "d"), begin(db, lease, 3)) == (2, None, 3)
    assert state(db, lease).state == "whole"


def test_one_gang_gathers_at_a_time(db: Database) -> None:
    first, second = add_job(db, 2), add_job(db, 2)
    lease = lead(db)
    assert lease.job_id == first
    assert claim(db, "b") is None
    with db.reading() as session:
        said = gangs.waiting_for(session, session.get_one(JobRow, second))
    assert said == "Another job of several nodes, which gathers its workers."
    sit(db, "b")
    begin(db, lease, 2)
    other = claim(db, "c")
    assert other is not None
    assert other.job_id == second


def test_too_few_living_workers_gather_no_gang(db: Database) -> None:
    job = add_job(db, 4)
    assert claim(db, "a") is None
    with db.reading() as session:
        said = gangs.waiting_for(session, session.get_one(JobRow, job))
    assert said == "4 workers with 1 devices (auto) each: 3 were seen of late."
    for fields in ({"device": "cuda"}, {"devices": 3}, {"device": "cpu", "devices": 3}):
        add_job(db, 3, **fields)
        assert claim(db, "a", {"cpu": 8, "cuda": 8}) is None, fields
    checkpoint = {"token": 1, "step": 1, "epoch": 0, "key": "k", "sha256": "", "bytes": 1, "manifest": {}}
    with db.writing() as session:
        session.add(CheckpointRow(id=new_id("ckpt"), job_id=job, created_at=0.0, **checkpoint))
    lease = lead(db)
    assert (lease.job_id, begin(db, lease, 1)) == (job, 1)


@pytest.mark.parametrize("count", [2, 9, 16])
def test_workers_with_enough_devices_are_counted_on(db: Database, count: int) -> None:
    with db.writing() as session:
        for worker in "xyz":
            workers.sign_in(session, worker, {"cpu": 1, "cuda": count})
    add_job(db, 3, device="cuda", devices=2)
    assert claim(db, "x", {"cpu": 1, "cuda": count}) is not None


@pytest.mark.parametrize(
    ("gpu_workers", "devices", "kind"), [("x", 1, "cpu"), ("xyz", 1, "cuda"), ("xyz", 2, "cuda"), ("x", 2, None)]
)
def test_all_nodes_compute_on_a_kind_of_device_that_enough_workers_have(
    db: Database, gpu_workers: str, devices: int, kind: str | None
) -> None:
    """Three workers have two CPU devices each, others one and two GPUs. `None`: one with GPUs cannot lead them."""
    gpus = {"cpu": 1, "cuda": 2}
    with db.writing() as session:
        for worker in gpu_workers:
            workers.sign_in(session, worker, gpus)
    add_job(db, 3, devices=devices)
    lease = claim(db, "x", gpus) or lead(db)
    with db.reading() as session:
        row = session.execute(select(JobRow.owner, GangRow.device).join(GangRow, GangRow.job_id == JobRow.id)).one()
        assert tuple(row) == (("x", kind) if kind else ("a", "cpu"))
    for worker in "bc" if row.device == "cpu" else "yz":
        assert sit(db, worker, CPU if row.device == "cpu" else gpus) is not None
    assert begin(db, lease, 3) == 3


def test_workers_of_several_kinds_are_not_added_up(db: Database) -> None:
    with db.writing() as session:
        workers.sign_out(session, "c")
        workers.sign_in(session, "x", {"cpu": 1, "cuda": 2})
    job = add_job(db, 3, devices=2)
    assert claim(db, "a") is None
    assert claim(db, "x", {"cpu": 1, "cuda": 2}) is None
    with db.reading() as session:
        said = gangs.waiting_for(session, session.get_one(JobRow, job))
    assert said == "3 workers with 2 devices (auto) each: 2 were seen of late."


def test_a_worker_takes_only_a_seat_that_it_can_fill(db: Database) -> None:
    add_job(db, 2, devices=2)
    lead(db)
    assert sit(db, "b", {"cpu": 1}) is None
    assert sit(db, "b", {"cuda": 2}) is None
    assert sit(db, "b", {"cpu": 2}) is not None


def test_no_gang_gathers_beside_a_long_job(db: Database) -> None:
    add_job(db, 2, lane="short")
    assert claim(db, "a", lane="short") is None


def test_a_seat_that_runs_out_is_open_again_while_the_gang_gathers(db: Database) -> None:
    add_job(db, 2)
    lease = lead(db)
    lost = sit(db, "b", seconds=-1)
    assert begin(db, lease, 2) is None
    taken = sit(db, "c")
    assert taken == lost
    assert lost is not None
    assert not renews(db, lost, "b")
    assert renews(db, lost, "c")


@pytest.mark.parametrize("code", [None, 77])
def test_a_gang_breaks_where_a_member_is_lost(db: Database, code: int | None) -> None:
    add_job(db, 3)
    lease = lead(db)
    seats = [sit(db, worker) for worker in "bc"]
    begin(db, lease, 3)
    with db.writing() as session:
        if code is None:
            session.execute(update(GangMemberRow).where(GangMemberRow.node == 1).values(lease_until=0.0))
        else:
            assert seats[0] is not None
            gangs.leave(session, seats[0], "b", code)
    assert state(db, lease) == gangs.State(state="broken", exit_code=code)
    assert sit(db, "d") is None


def test_a_member_that_shuts_down_waits_for_the_leader(db: Database) -> None:
    lease, seat = lead_two(db)
    with db.writing() as session:
        gangs.announce_leaving(session, seat, "b")
    assert state(db, lease).state == "leaving"
    assert renews(db, seat, "b")


def test_an_attempt_that_ends_lets_its_members_go(db: Database) -> None:
    lease, seat = lead_two(db)
    with db.writing() as session:
        leases.requeue(session, lease, "for a test", charged=False)
    assert not renews(db, seat, "b")
    again = lead(db, "c")
    assert again.token == lease.token + 1
    with db.reading() as session:
        assert session.scalars(select(GangRow.token)).all() == [again.token]
        with pytest.raises(PartedError):
            gangs.meeting(session, seat, 0)


def test_members_come_when_they_are_called_and_know_their_place(db: Database) -> None:
    """Of the nodes 0, 1 and 2 the second was lost while they gathered: node 2 is the second of two."""
    add_job(db, 3)
    lease = lead(db)
    gone, seat = sit(db, "b"), sit(db, "c")
    assert gone is not None
    assert seat is not None
    with db.writing() as session:
        gangs.leave(session, gone, "b", None)
    assert begin(db, lease, 1) == 2
    with db.writing() as session:
        assert gangs.meeting(session, seat, 0) is None
        gangs.call(session, lease, "10.0.0.1:1234")
        meeting = gangs.meeting(session, seat, 0)
        assert meeting == gangs.Meeting(round=1, address="10.0.0.1:1234", place=1, size=2, device="cpu")
        assert gangs.meeting(session, seat, 1) is None
        gangs.part(session, lease)
    with db.reading() as session, pytest.raises(PartedError):
        gangs.meeting(session, seat, 1)
    assert state(db, lease).state == "whole"


def test_an_attempt_gathers_twice_as_long_after_each_in_vain(db: Database) -> None:
    job = add_job(db, 2)

    def patience(lease: Lease) -> float:
        with db.reading() as session:
            return gangs.patience(session, lease, 60)

    def give_back(lease: Lease, ending: Ending) -> None:
        with db.writing() as session:
            leases.requeue(session, lease, "for a test", charged=False, ending=ending)

    waited = []
    for ending in ("too_few_workers", "too_few_workers", "drained", "too_few_workers", *["too_few_workers"] * 7):
        lease = lead(db)
        assert lease.job_id == job
        waited.append(patience(lease))
        give_back(lease, ending)
    assert waited == [60, 120, 240, 60, 120, 240, 480, 960, 1920, 3600, 3600]


@pytest.mark.parametrize(
    ("own", "other", "goes_before"),
    [
        ({"priority": 1}, {"priority": 2}, True),
        ({"priority": 2}, {"priority": 2}, False),
        ({"priority": 9}, {"urgency": 1}, True),
        ({"urgency": 1}, {"priority": 9}, False),
    ],
)
def test_a_busy_worker_gives_way_to_what_goes_before_its_job(
    db: Database, own: dict[str, int], other: dict[str, int], goes_before: bool
) -> None:
    add_job(db, 1, **own)
    busy = lead(db, "b")
    add_job(db, 2, **other)
    lease = lead(db, "a")
    with db.writing() as session:
        seat = gangs.preempt(session, busy, "b", 60, CPU)
    assert (seat is not None) == goes_before
    if seat is not None:
        assert begin(db, lease, 2) == 2
        assert sit(db, "b") == seat  # once its job is given back, though the gang has begun


@pytest.mark.one_database("postgresql")
def test_two_busy_workers_do_not_take_the_same_seat(db: Database) -> None:
    """Both read that it is open before either writes; writers of SQLite wait for each other."""
    for _ in range(2):
        add_job(db, 1)
    one, other = lead(db, "b"), lead(db, "c")
    add_job(db, 2, priority=1)
    lead(db, "a")
    seats: dict[str, Seat | None] = {}

    def take_second() -> None:
        with db.writing() as session:
            seats["c"] = gangs.preempt(session, other, "c", 60, CPU)

    with db.writing() as session:
        seats["b"] = gangs.preempt(session, one, "b", 60, CPU)
        second = threading.Thread(target=take_second)
        second.start()
        with db.reading() as watching:
            locked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            wait_until(lambda: watching.scalar(locked) or not second.is_alive(), "it waits for the first")
    second.join()
    assert seats["b"] is not None
    assert seats["c"] is None
