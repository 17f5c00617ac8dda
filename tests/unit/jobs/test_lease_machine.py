"""Every interleaving of workers, users, deaths and time that hypothesis comes upon: the real SQL, a clock of ours.

Workers here are careless: they keep what they once claimed and go on writing under it, as one does that was stopped and
continued. What must hold is checked after every step, and at the end all jobs are brought to theirs.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from app.db.session import Database
from app.db.tables import AttemptRow, Base, EventRow, JobRow, ProjectRow
from app.jobs import lease as leases
from app.jobs import transitions
from app.jobs.attempts import Lease
from app.jobs.lease import CancelledError, LeaseLostError, PausingError
from app.jobs.states import LEASED, LEGAL, TERMINAL
from app.jobs.transitions import JobError

LEASE, MAX_ATTEMPTS = 60.0, 3
ERROR = JobError(code="diverged", category="user", message="It diverged.")
jobs = st.integers(0, 3)
leased = st.integers(0, 3)  # from the newest claim back: old ones are those of zombies


@dataclass
class Clock:
    now: float = 1e9


class Leases(RuleBasedStateMachine):
    """The state of the model: who claimed what last, and what users were promised."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.db = Database("sqlite://")
        event.listen(self.db.engine, "connect", self._set_clock)
        Base.metadata.create_all(self.db.engine)
        self.jobs: list[str] = []
        self.held: list[Lease] = []
        self.token: dict[str, int] = {}
        self.charged: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.succeeded: dict[str, int] = {}
        self.seen: dict[str, str] = {}

    def _set_clock(self, connection: Any, _record: Any) -> None:
        connection.create_function("unixepoch", 1, lambda _: self.clock.now)

    def teardown(self) -> None:
        self._settle()
        self.db.close()

    @initialize()
    def begin(self) -> None:
        with self.db.writing() as session:
            session.add(ProjectRow(id="prj", name="p", created_at=0.0))
        self.submit(0)

    # ---- users

    @precondition(lambda self: len(self.jobs) < 4)
    @rule(priority=st.integers(-1, 1))
    def submit(self, priority: int) -> None:
        job = f"job_{len(self.jobs)}"
        values = {"kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}, "priority": priority}
        with self.db.writing() as session:
            now = self.clock.now
            session.add(JobRow(id=job, project_id="prj", created_at=now, queued_at=now, **values))
        self.jobs.append(job)
        self.charged[job] = 0
        self.seen[job] = "queued"

    @rule(number=jobs)
    def cancel(self, number: int) -> None:
        job = self._job(number)
        with self.db.writing() as session:
            if transitions.cancel(session, job) is not None:
                self.cancelled.add(job)

    @rule(number=jobs)
    def pause(self, number: int) -> None:
        with self.db.writing() as session:
            transitions.pause(session, self._job(number))

    @rule(number=jobs)
    def resume(self, number: int) -> None:
        with self.db.writing() as session:
            transitions.resume(session, self._job(number))

    @rule(number=jobs)
    def retry(self, number: int) -> None:
        job = self._job(number)
        with self.db.writing() as session:
            if transitions.retry(session, job):
                self.cancelled.discard(job)
                self.charged[job] = 0

    # ---- time and the sweeper

    @rule(seconds=st.sampled_from([0.5, 10.0, 40.0, 70.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        with self.db.writing() as session:
            leases.sweep(session, MAX_ATTEMPTS)

    # ---- workers

    @rule()
    def claim(self) -> None:
        with self.db.writing() as session:
            lease = leases.claim(session, "w", LEASE)
        if lease is not None:
            assert lease.token == self.token.get(lease.job_id, 0) + 1
            assert lease.job_id not in self.cancelled
            self.token[lease.job_id] = lease.token
            self.charged[lease.job_id] += 1
            self.held.append(lease)

    @precondition(lambda self: self.held)
    @rule(number=leased, action=st.sampled_from(["report", "enter", "succeed", "fail", "give_back"]))
    def write(self, number: int, action: str) -> None:
        """As a trainer does: what is refused must be, and what is not must come from the newest attempt."""
        lease = self._lease(number)
        with self.db.reading() as session:
            before = session.get_one(JobRow, lease.job_id)
        try:
            with self.db.writing() as session:
                getattr(self, f"_{action}")(session, lease)
        except CancelledError:
            assert lease.job_id in self.cancelled
            with self.db.writing() as session:
                leases.finish(session, lease, "cancelled", "Cancelled.")
        except PausingError:
            with self.db.writing() as session:
                leases.requeue(session, lease, "Paused.", charged=False)
            self.charged[lease.job_id] -= 1
        except LeaseLostError:
            assert before.token != lease.token or before.status not in LEASED
        else:
            assert self.token[lease.job_id] == lease.token
            assert before.status in LEASED
            assert lease.job_id not in self.cancelled
            self.charged[lease.job_id] -= action == "give_back"

    @precondition(lambda self: self.held)
    @rule(number=leased)
    def beat(self, number: int) -> None:
        lease = self._lease(number)
        with self.db.writing() as session:
            renewed = leases.beat(session, lease, LEASE)
        assert renewed is None or self.token[lease.job_id] == lease.token

    @precondition(lambda self: self.held)
    @rule(number=leased)
    def die(self, number: int) -> None:
        """A supervisor notices, maybe a zombie's."""
        with self.db.writing() as session:
            leases.abandon(session, self._lease(number), MAX_ATTEMPTS, "It died.")

    def _report(self, session: Session, lease: Lease) -> None:
        leases.write(session, lease, progress={"step": lease.token})

    def _enter(self, session: Session, lease: Lease) -> None:
        leases.hold(session, lease)
        status = session.get_one(JobRow, lease.job_id).status
        leases.move(session, lease, "running" if status == "preparing" else "finalizing")

    def _succeed(self, session: Session, lease: Lease) -> None:
        leases.hold(session, lease)
        if session.get_one(JobRow, lease.job_id).status == "running":
            leases.move(session, lease, "finalizing")
        if session.get_one(JobRow, lease.job_id, populate_existing=True).status == "finalizing":
            leases.finish(session, lease, "succeeded", "Done.")
            self.succeeded[lease.job_id] = self.succeeded.get(lease.job_id, 0) + 1

    def _fail(self, session: Session, lease: Lease) -> None:
        leases.finish(session, lease, "failed", "It failed.", ERROR)

    def _give_back(self, session: Session, lease: Lease) -> None:
        leases.requeue(session, lease, "Drained.", charged=False)

    # ---- what must hold

    @invariant()
    def every_change_was_legal(self) -> None:
        for row in self._rows():
            before = self.seen.get(row.id, row.status)
            assert row.status in _reachable(before), (row.id, before, row.status)
            self.seen[row.id] = row.status

    @invariant()
    def a_job_under_a_lease_has_one_open_attempt_and_no_other_has_any(self) -> None:
        with self.db.reading() as session:
            query = select(AttemptRow.job_id, AttemptRow.token).where(AttemptRow.ended_at.is_(None))
            still = {(row.job_id, row.token) for row in session.execute(query)}
        assert still == {(row.id, row.token) for row in self._rows() if row.status in LEASED}

    @invariant()
    def ends_are_ends(self) -> None:
        for row in self._rows():
            assert (row.status in TERMINAL) == (row.finished_at is not None), row.id
            assert (row.status in LEASED) == (row.lease_until is not None) or row.status == "cancelling", row.id
            assert row.attempts == self.charged[row.id] <= MAX_ATTEMPTS, row.id
            assert (row.status == "failed") == (row.error is not None), row.id
        assert all(count == 1 for count in self.succeeded.values())

    @invariant()
    def what_is_cancelled_is_never_published(self) -> None:
        for row in self._rows():
            if row.id in self.cancelled:
                assert row.status in ("cancelling", "cancelled"), (row.id, row.status)

    @invariant()
    def stories_have_no_gap(self) -> None:
        with self.db.reading() as session:
            query = select(EventRow.job_id, func.count(), func.max(EventRow.seq)).group_by(EventRow.job_id)
            for job, count, last in session.execute(query):
                assert count == last == session.get_one(JobRow, job).last_seq

    # ---- helpers

    def _job(self, number: int) -> str:
        return self.jobs[number % len(self.jobs)]

    def _lease(self, number: int) -> Lease:
        return self.held[-1 - number % len(self.held)]

    def _rows(self) -> list[JobRow]:
        with self.db.reading() as session:
            return list(session.scalars(select(JobRow)))

    def _settle(self) -> None:
        """Everybody vanishes; one good worker brings all to an end, but for what users have paused."""
        for _ in range(4 * len(self.jobs) + 4):
            self.clock.now += 2000
            with self.db.writing() as session:
                leases.sweep(session, MAX_ATTEMPTS)
                lease = leases.claim(session, "good", LEASE)
                if lease is not None:
                    leases.move(session, lease, "running")
                    leases.move(session, lease, "finalizing")
                    leases.finish(session, lease, "succeeded", "Done.")
        left = {row.id: row.status for row in self._rows() if row.status not in TERMINAL}
        assert set(left.values()) <= {"paused"}, left


def _reachable(status: str) -> set[str]:
    """All states that a few legal changes within one step lead to, the same included; a way through an end is none."""
    found, news = {status}, {status}
    while news:
        news = {to for one in news if one not in TERMINAL for to in LEGAL[one]} - found  # type: ignore[index]
        found |= news
    return found | (set(LEGAL[status]) if status in TERMINAL else set())  # type: ignore[index]


def run(examples: int) -> None:
    Leases.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=50,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # to make an example small takes minutes
    )
    Leases.TestCase().runTest()


@pytest.mark.hypothesis
def test_no_interleaving_breaks_what_is_promised() -> None:
    run(12)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_no_interleaving_of_a_hundred_breaks_what_is_promised() -> None:
    run(100)
