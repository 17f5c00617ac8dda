"""What one attempt writes into its job."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from app.artifacts.local import LocalArtifacts
from app.db.session import MAX_REPEATS, Database
from app.db.tables import JobRow, MetricRow, ProjectRow
from app.jobs import lease as leases
from app.jobs import transitions
from app.jobs.lease import CancelledError, LeaseLostError
from app.kit.ids import new_id
from worker.attempt import attempt as attempts
from worker.attempt.attempt import Attempt

PROGRESS = {"fraction": 0.5, "step": 1, "total_steps": 2, "epoch": 0, "eta_seconds": None}


@pytest.fixture
def attempt(database: Database, tmp_path: Path) -> Attempt:
    fields: dict[str, Any] = {"config": {}, "job_metadata": {}, "created_at": 0.0, "queued_at": 0.0}
    with database.writing() as session:
        session.add(ProjectRow(id="prj_1", name="test", created_at=0.0))
        session.flush()
        session.add(JobRow(id=new_id("job"), project_id="prj_1", kind="pretraining", status="queued", **fields))
    return Attempt(database, LocalArtifacts(tmp_path / "artifacts"), claim(database))


def claim(database: Database) -> leases.Lease:
    with database.writing() as session:
        lease = leases.claim(session, "w1", 60)
    assert lease is not None
    return lease


def point(step: int, **values: float | None) -> dict[str, Any]:
    return {"step": step, "epoch": 0, "values": values}


def points(database: Database) -> dict[int, dict[str, float | None]]:
    with database.reading() as session:
        return {row.step: row.values for row in session.scalars(select(MetricRow).order_by(MetricRow.step))}


def test_measurements_of_one_step_may_come_in_parts(attempt: Attempt, database: Database) -> None:
    attempt.report(PROGRESS, [point(1, loss=1.0), point(2, loss=2.0)])
    attempt.report(PROGRESS, [point(2, accuracy=0.5), point(3, loss=None)])
    assert points(database) == {1: {"loss": 1.0}, 2: {"loss": 2.0, "accuracy": 0.5}, 3: {"loss": None}}


def test_what_an_earlier_attempt_measured_stays(attempt: Attempt, database: Database) -> None:
    attempt.report(PROGRESS, [point(1, loss=1.0), point(2, loss=2.0)])
    attempt.give_back("drained")
    heir = Attempt(database, attempt.artifacts, claim(database))
    heir.report(PROGRESS, [point(2, loss=9.0), point(3, loss=3.0)])
    assert points(database) == {1: {"loss": 1.0}, 2: {"loss": 2.0}, 3: {"loss": 3.0}}


def test_a_zombie_reports_and_saves_nothing(attempt: Attempt, database: Database, tmp_path: Path) -> None:
    attempt.give_back("drained")
    claim(database)
    state = tmp_path / "state"
    state.write_bytes(b"state")
    with pytest.raises(LeaseLostError):
        attempt.report(PROGRESS, [point(1, loss=1.0)])
    with pytest.raises(LeaseLostError):
        attempt.save_checkpoint(state, 1, 0, {})
    with pytest.raises(LeaseLostError):
        attempt.succeed("Done.", lambda _: None)
    assert points(database) == {}
    assert attempt.checkpoints() == []


def test_a_cancelled_attempt_publishes_nothing(attempt: Attempt, database: Database) -> None:
    attempt.enter("running", None, "Started.")
    attempt.enter("finalizing", None, "Ending.")
    with database.writing() as session:
        transitions.cancel(session, attempt.lease.job_id)
    published: list[object] = []
    with pytest.raises(CancelledError):
        attempt.succeed("Done.", published.append)
    assert published == []
    attempt.cancelled()
    assert attempt.job().status == "cancelled"


def test_what_is_said_twice_since_the_answer_was_lost_counts_once(
    attempt: Attempt, database: Database, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.write_bytes(b"state")
    for _ in range(2):
        attempt.enter("running", None, "Started.")
    for _ in range(2):
        attempt.save_checkpoint(state, 5, 0, {})
    assert [row.step for row in attempt.checkpoints()] == [5]
    for step in (6, 7):
        attempt.save_checkpoint(state, step, 0, {})
    assert [row.step for row in attempt.checkpoints()] == [7, 6]
    assert all(attempt.artifacts.fetch(row.key).is_file() for row in attempt.checkpoints())


class Undeletable(LocalArtifacts):
    """A store that has a bad day."""

    def delete(self, key: str) -> None:
        raise OSError(key)


def test_a_checkpoint_that_cannot_be_deleted_is_no_reason_to_fail(attempt: Attempt, tmp_path: Path) -> None:
    attempt.artifacts = Undeletable(tmp_path / "artifacts")
    state = tmp_path / "state"
    state.write_bytes(b"state")
    for step in range(4):
        attempt.save_checkpoint(state, step, 0, {})
    assert [row.step for row in attempt.checkpoints()] == [3, 2]


def test_damaged_states_make_room_for_sound_ones(attempt: Attempt, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_bytes(b"state")
    for step in (900, 1000):
        attempt.save_checkpoint(state, step, 0, {})
    for row in attempt.checkpoints():
        attempt.drop_checkpoint(row, "its bytes are others")
    attempt.save_checkpoint(state, 10, 0, {})
    assert [row.step for row in attempt.checkpoints()] == [10]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_RETRY_SECONDS", 0.0)


def project(name: str) -> ProjectRow:
    return ProjectRow(id=new_id("prj"), name=name, created_at=0.0)


@pytest.mark.usefixtures("no_pauses")
def test_a_row_that_refers_to_nothing_is_raised_at_once(attempt: Attempt) -> None:
    tries = []

    def insert(session: Session) -> None:
        tries.append(1)
        session.add(MetricRow(job_id="job_none", step=0, epoch=0, created_at=0.0, values={}))

    with pytest.raises(IntegrityError):
        attempt.commit_with_retry(insert)
    assert len(tries) == 1


@pytest.mark.usefixtures("no_pauses")
def test_a_name_that_stays_taken_is_raised_after_some_tries(attempt: Attempt) -> None:
    tries = []

    def insert(session: Session) -> None:
        tries.append(1)
        session.add(project("test"))

    with pytest.raises(IntegrityError):
        attempt.commit_with_retry(insert)
    assert len(tries) == MAX_REPEATS + 1


@pytest.mark.usefixtures("no_pauses")
def test_a_name_that_another_transaction_took_first_is_tried_again(attempt: Attempt, database: Database) -> None:
    names = iter(["test", "test", "other"])
    attempt.commit_with_retry(lambda session: session.add(project(next(names))))
    with database.reading() as session:
        assert set(session.scalars(select(ProjectRow.name))) == {"test", "other"}


@pytest.mark.usefixtures("no_pauses")
def test_a_statement_that_is_wrong_is_raised_at_once(attempt: Attempt) -> None:
    tries = []

    def run(session: Session) -> None:
        tries.append(1)
        session.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(DBAPIError):
        attempt.commit_with_retry(run)
    assert len(tries) == 1
