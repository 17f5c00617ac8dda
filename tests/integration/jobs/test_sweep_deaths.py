"""Sweeps whose workers die, between any two transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.db.session import Database
from app.db.tables import JobRow
from app.jobs import lease as leases
from app.settings import Settings
from tests.support.http import Http
from tests.support.sweeps import (
    BASE_TRAINING,
    base,
    job_of,
    run_one,
    submit,
    sweep,
    table,
    trials_of,
    tried,
    upload,
    weights,
)
from tests.support.work import run_jobs


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    return upload(client, settings, table())


class Killed(BaseException):
    """The process is gone: nothing below may catch this."""


@contextmanager
def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every process of this block dies at its `moment`th writing transaction: even ones before, odd ones after it."""
    count = [0]
    original = Database.writing

    @contextmanager
    def writing(self: Database) -> Iterator[Session]:
        count[0] += 1
        if count[0] == moment // 2 and moment % 2 == 0:
            raise Killed
        with original(self) as session:
            yield session
        if count[0] == moment // 2 and moment % 2 == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Database, "writing", writing)
        yield count


def run_with_a_kill(settings: Settings, database: Database, moment: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run everything, with one kill on the way; tell whether it came to that."""
    try:
        with killed_at(moment, monkeypatch):
            run_jobs(settings)
    except Killed:
        with database.writing() as session:
            session.execute(update(JobRow).where(JobRow.lease_until.is_not(None)).values(lease_until=1.0))
            leases.sweep(session, 3)
        run_jobs(settings)
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("step", [16, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_a_kill_between_any_two_transactions_loses_and_doubles_no_trial(
    client: Http, settings: Settings, database: Database, dataset: str, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """By steps of two every moment: on one of the two databases this one, on the other the next."""
    halving = {"kind": "successive_halving", "sampler": "tpe", "reduction_factor": 2}
    training = {**BASE_TRAINING, "epochs": 2, "checkpoint_steps": 4}
    body = sweep(dataset, trials=3, algorithm=halving, metric="val/loss", base=base(dataset, training=training))
    undisturbed = submit(client, body)
    run_jobs(settings)
    expected = job_of(client, undisturbed)
    assert expected["status"] == "succeeded", expected["error"]
    moment, kills = 2 if settings.database_url else 3, 0
    while True:
        job = submit(client, body)
        if not run_with_a_kill(settings, database, moment, monkeypatch):
            break
        done = job_of(client, job)
        assert done["status"] == "succeeded", (moment, done["error"])
        assert tried(done) == tried(expected), moment
        assert weights(client, job) == weights(client, undisturbed), moment
        assert len(trials_of(client, job)) == 3
        moment, kills = moment + step, kills + 1
    assert kills >= 5


def test_a_worker_that_dies_in_every_turn_ends_the_sweep_and_its_trials(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    job = submit(client, sweep(dataset, parallel=2))
    run_one(settings, database)
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(wakes_at=2))
    for _ in range(3):
        with database.writing() as session:
            lease = leases.claim(session, "mortal", 60)
            assert lease is not None
            assert lease.job_id == job
            leases.abandon(session, lease, 3, "It died.", backoff=0)
    assert job_of(client, job)["error"]["code"] == "worker_lost"
    assert {trial["status"] for trial in trials_of(client, job)} == {"cancelled"}
