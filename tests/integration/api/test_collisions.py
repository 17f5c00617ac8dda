"""Transactions that collide in a real PostgreSQL: the service repeats the whole of one, and nothing happens twice."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.db.session import MAX_REPEATS, Database
from app.dependencies import Services
from app.jobs import lease as leases
from app.jobs.sweeper import Sweeper
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.servers import HANGS, Postgres, wait_until
from tests.support.work import run_jobs

KEY = "the-key-of-a-request"
Connection = psycopg.Connection[tuple[Any, ...]]
Statement = tuple[str, list[str]]
LOCK_DATASET = "SELECT 1 FROM datasets WHERE id = %s FOR UPDATE"
LOCK_JOB = "SELECT 1 FROM jobs WHERE id = %s FOR UPDATE"
TAKE_KEY = "INSERT INTO idempotency VALUES (%s, %s, 'f', '{}', 0)"


@pytest.fixture
def settings(postgres: Postgres, template: str, data_folder: Path) -> Iterator[Settings]:
    with postgres.lent(template) as name:
        yield Settings(data=data_folder, database_url=postgres.url(name))


@pytest.fixture
def other(settings: Settings) -> Iterator[Connection]:
    """Somebody else's transaction, which never gives way: PostgreSQL ends the one that looks for a deadlock first."""
    with psycopg.connect(settings.sql_url) as connection:
        connection.execute("SET deadlock_timeout = '1h'")
        connection.commit()
        yield connection


@pytest.fixture
def onlooker(settings: Settings) -> Iterator[Connection]:
    with psycopg.connect(settings.sql_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    rows = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(30))
    answer = client.post("/v1/datasets", files={"file": ("rows.csv", rows)}, data={"name": "rows"})
    run_jobs(settings)
    return str(answer.json()["id"])


def submit(client: Http, dataset: str) -> httpx.Response:
    body = {"kind": "pretraining", "dataset": dataset, "training": {"steps": 1}}
    return client.post("/v1/jobs", json=body, headers={"Idempotency-Key": KEY})


def job_of(client: Http, dataset: str) -> str:
    answer = submit(client, dataset)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def told(client: Http, job: str) -> list[tuple[int, str]]:
    events = client.get(f"/v1/jobs/{job}/events").json()["data"]
    return [(event["seq"], event["type"]) for event in events]


def waits_for(onlooker: Connection, other: Connection) -> bool:
    """Whether some transaction waits for what the other one holds."""
    query = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    return onlooker.execute(query, [other.info.backend_pid]).fetchone() is not None


def crosswise(
    ask: Callable[[], httpx.Response], other: Connection, onlooker: Connection, first: Statement, second: Statement
) -> httpx.Response:
    """Lock by `first`; once the request waits for that, lock by `second` what the request holds."""
    other.execute(*first)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        wait_until(lambda: waits_for(onlooker, other), "the request waits")
        other.execute(*second)  # comes back once the request's transaction was ended
        other.rollback()
        return asked.result(HANGS)


def test_a_submit_that_ends_in_a_deadlock_is_repeated_and_accepted_once(
    client: Http,
    queue: MemoryQueue,
    dataset: str,
    project_id: str,
    other: Connection,
    onlooker: Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The request keeps its Idempotency-Key and wants the dataset; the other holds the dataset and wants the key."""
    rings = queue.rings
    first, second = (LOCK_DATASET, [dataset]), (TAKE_KEY, [project_id, KEY])
    answer = crosswise(lambda: submit(client, dataset), other, onlooker, first, second)
    assert answer.status_code == 202, answer.text
    assert caplog.text.count("deadlock detected") == 1
    assert queue.rings == rings + 1
    job = answer.json()["id"]
    assert told(client, job) == [(1, "job.queued")]
    assert submit(client, dataset).json() == answer.json()
    assert [row["id"] for row in client.get("/v1/jobs?kind=pretraining").json()["data"]] == [job]


def test_a_cancel_that_ends_in_a_deadlock_is_repeated_and_told_once(
    client: Http, other: Connection, onlooker: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The request has changed the job and wants its dataset; the other holds the dataset and wants the job."""
    made = client.post("/v1/datasets", files={"file": ("rows.csv", b"a\n1\n2\n")}, data={"name": "rows"}).json()
    job = made["job"]
    first, second = (LOCK_DATASET, [made["id"]]), (LOCK_JOB, [job])
    answer = crosswise(lambda: client.post(f"/v1/jobs/{job}/cancel"), other, onlooker, first, second)
    assert (answer.status_code, answer.json().get("status")) == (202, "cancelled"), answer.text
    assert caplog.text.count("deadlock detected") == 1
    assert told(client, job) == [(1, "job.queued"), (2, "job.cancelled")]
    assert client.get(f"/v1/datasets/{made['id']}").json()["status"] == "failed"


def test_a_write_that_cannot_be_serialized_is_repeated_and_told_once(
    client: Http,
    services: Services,
    dataset: str,
    other: Connection,
    onlooker: Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever runs the database has asked for snapshots: the row that the request saw is changed before it writes."""
    job = job_of(client, dataset)
    name = sql.Identifier(onlooker.info.dbname)
    onlooker.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'").format(name))
    services.database.close()  # it holds for connections that begin from now on
    other.execute("UPDATE jobs SET priority = 1 WHERE id = %s", [job])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, f"/v1/jobs/{job}/pause")
        wait_until(lambda: waits_for(onlooker, other), "the request waits")
        other.commit()
        answer = asked.result(HANGS)
    assert (answer.status_code, answer.json().get("status")) == (202, "paused"), answer.text
    assert caplog.text.count("could not serialize access") == 1
    assert answer.json()["priority"] == 1
    assert told(client, job) == [(1, "job.queued"), (2, "job.paused")]


def refuse_commits(onlooker: Connection, times: int) -> None:
    """Let the database refuse the first commits that queue a job, as one does that serializes all transactions."""
    onlooker.execute("CREATE SEQUENCE tries")
    onlooker.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('tries') <= {times} THEN RAISE 'refused' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$"
    )
    onlooker.execute(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )


def tries(onlooker: Connection) -> int:
    return int(onlooker.execute("SELECT last_value FROM tries").fetchone()[0])  # type: ignore[index]


def test_what_is_refused_at_its_commit_is_repeated_five_times(
    client: Http, queue: MemoryQueue, dataset: str, onlooker: Connection
) -> None:
    rings = queue.rings
    refuse_commits(onlooker, MAX_REPEATS)
    job = job_of(client, dataset)
    assert tries(onlooker) == MAX_REPEATS + 1
    assert queue.rings == rings + 1
    assert told(client, job) == [(1, "job.queued")]


def test_what_is_refused_once_more_is_answered_503_and_has_changed_nothing(
    client: Http, queue: MemoryQueue, dataset: str, onlooker: Connection
) -> None:
    rings = queue.rings
    refuse_commits(onlooker, MAX_REPEATS + 1)
    check_problem(submit(client, dataset), 503, "database_unavailable")
    assert tries(onlooker) == MAX_REPEATS + 1
    assert queue.rings == rings
    assert client.get("/v1/jobs?kind=pretraining").json()["data"] == []
    job = job_of(client, dataset)
    assert told(client, job) == [(1, "job.queued")]


def test_an_upload_whose_commit_is_refused_is_kept_once(client: Http, onlooker: Connection) -> None:
    refuse_commits(onlooker, 1)
    answer = client.post("/v1/datasets", files={"file": ("rows.csv", b"a\n1\n2\n")}, data={"name": "rows"})
    assert answer.status_code == 202, answer.text
    assert tries(onlooker) == 2
    assert [row["id"] for row in client.get("/v1/datasets").json()["data"]] == [answer.json()["id"]]
    assert told(client, answer.json()["job"]) == [(1, "job.queued")]


def test_a_sweep_of_silent_workers_is_repeated(
    client: Http, queue: MemoryQueue, database: Database, settings: Settings, dataset: str, onlooker: Connection
) -> None:
    job = job_of(client, dataset)
    with database.writing() as session:
        assert leases.claim(session, "one", -1) is not None
    rings = queue.rings
    refuse_commits(onlooker, 2)
    Sweeper(database, queue, settings).sweep_once()
    assert queue.rings == rings + 1
    assert tries(onlooker) == 3
    assert told(client, job)[2:] == [(3, "job.requeued")]


def test_other_errors_are_not_repeated(database: Database) -> None:
    calls = 0

    def wait_for_too_long(session: Session) -> None:
        nonlocal calls
        calls += 1
        session.execute(text("SET LOCAL statement_timeout = 10"))
        session.execute(text("SELECT pg_sleep(10)"))

    with pytest.raises(OperationalError):
        database.transact(wait_for_too_long)
    assert calls == 1


def test_of_two_that_lock_crosswise_both_end(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    with database.writing() as session:
        session.execute(text("CREATE TABLE pairs (id int PRIMARY KEY, n int)"))
        session.execute(text("INSERT INTO pairs VALUES (1, 0), (2, 0)"))
    add = text("UPDATE pairs SET n = n + 1 WHERE id = :id")
    both_hold_one = threading.Barrier(2)

    def add_to(rows: tuple[int, int]) -> None:
        first_time = iter([True])

        def action(session: Session) -> None:
            session.execute(add, {"id": rows[0]})
            if next(first_time, False):
                both_hold_one.wait(HANGS)
            session.execute(add, {"id": rows[1]})

        database.transact(action)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add_to, [(1, 2), (2, 1)]))
    with database.reading() as session:
        assert session.execute(text("SELECT n FROM pairs")).scalars().all() == [2, 2]
    assert "deadlock detected" in caplog.text
