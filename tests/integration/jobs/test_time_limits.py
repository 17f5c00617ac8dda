"""How long a job may still run: its attempts count together, those before its last retry do not."""

import pytest
from sqlalchemy import select

from app.db.session import Database
from app.db.tables import AttemptRow
from app.jobs import attempts
from app.settings import Settings
from tests.integration.jobs.test_job_life import dataset, run_drained, submit  # noqa: F401 - a fixture
from tests.support.http import Http

pytestmark = pytest.mark.one_database

LIMIT = 100.0


def run_for(settings: Settings, database: Database, job: str, seconds: float) -> None:
    """An attempt of some steps, which took so long by the database."""
    run_drained(settings, database)
    with database.writing() as session:
        rows = select(AttemptRow).where(AttemptRow.job_id == job).order_by(AttemptRow.token.desc())
        attempt = session.scalars(rows).first()
        assert attempt is not None
        attempt.ended_at = attempt.started_at + seconds


def seconds_left(database: Database, job: str) -> float | None:
    with database.reading() as session:
        return attempts.seconds_left(session, job)


def test_attempts_count_together_and_a_retry_begins_anew(
    client: Http,
    settings: Settings,
    database: Database,
    dataset: str,  # noqa: F811 - the fixture
) -> None:
    job = submit(client, dataset, resources={"max_seconds": LIMIT})
    assert seconds_left(database, job) == LIMIT
    run_for(settings, database, job, 40)
    assert seconds_left(database, job) == pytest.approx(LIMIT - 40)
    run_for(settings, database, job, 25)
    assert seconds_left(database, job) == pytest.approx(LIMIT - 40 - 25), "both attempts, not the last alone"
    assert client.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelled"
    assert client.post(f"/v1/jobs/{job}/retry").json()["status"] == "queued"
    assert seconds_left(database, job) == LIMIT, "attempts before the retry no longer count"
    run_for(settings, database, job, 10)
    assert seconds_left(database, job) == pytest.approx(LIMIT - 10)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_job_without_a_limit_may_run_for_ever(
    client: Http,
    database: Database,
    dataset: str,  # noqa: F811 - the fixture
) -> None:
    assert seconds_left(database, submit(client, dataset)) is None
