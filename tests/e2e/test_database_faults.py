"""A database that is restarted, killed, locked or damaged: the service waits or says so, and nothing is lost."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pysqlite3 import dbapi2 as sqlite

from graftwork import Graftwork
from tests.support.jobs import step_of, weights
from tests.support.servers import HANGS, KEY, Postgres, Service, service, wait_until

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
HEADERS = {"Authorization": f"Bearer {KEY}"}
TRAINING = {"steps": 3000, "batch_size": 32, "checkpoint_steps": 500, "seed": 3}
NETWORK: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [128, 64]}, "method": {"kind": "autoencoder"}}


def begin(graftwork: Graftwork, digits: Digits, steps: int = TRAINING["steps"]) -> str:
    dataset = graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"]
    return str(
        graftwork.jobs.create(kind="pretraining", dataset=dataset, **NETWORK, training={**TRAINING, "steps": steps})[
            "id"
        ]
    )


def goes_on(graftwork: Graftwork, job: str, step: int) -> bool:
    return step_of(graftwork, job) > step


@pytest.mark.slow
def test_a_job_outlives_restarts_of_its_database_without_another_attempt(
    on_postgres: Service, faulty: Postgres, digits: Digits
) -> None:
    with on_postgres.client() as graftwork:
        undisturbed = weights(graftwork, begin(graftwork, digits))
        job = begin(graftwork, digits)
        for number in (signal.SIGINT, signal.SIGKILL, signal.SIGINT):
            wait_until(partial(goes_on, graftwork, job, step_of(graftwork, job)), "it goes on")
            faulty.restart(number)
        assert weights(graftwork, job) == undisturbed
        assert graftwork.jobs.get(job)["attempt"] == 1


@pytest.mark.slow
def test_while_the_database_is_away_every_answer_says_so_in_time(on_postgres: Service, faulty: Postgres) -> None:
    faulty.halt()
    for path in ("/health/ready", "/v1/jobs", "/metrics"):
        began = time.monotonic()
        answer = httpx.get(on_postgres.url + path, headers=HEADERS, trust_env=False, timeout=HANGS)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), path
        assert answer.headers["Retry-After"]
        assert time.monotonic() - began < 60
    assert httpx.get(f"{on_postgres.url}/health/live", trust_env=False, timeout=HANGS).status_code == 200
    faulty.resume()
    wait_until(lambda: not refused(on_postgres, "/v1/jobs"), "it is found again")


@pytest.mark.slow
def test_a_stream_goes_on_once_the_database_is_back(on_postgres: Service, faulty: Postgres, digits: Digits) -> None:
    with on_postgres.client() as graftwork:
        job = begin(graftwork, digits)
        seen: list[int] = []
        following = threading.Thread(target=lambda: seen.extend(event["seq"] for event in graftwork.jobs.follow(job)))
        following.start()
        wait_until(lambda: seen, "something was told")
        faulty.halt()
        wait_until(lambda: refused(on_postgres, f"/v1/jobs/{job}/events"), "the stream is refused")
        time.sleep(2)  # whoever follows has met with that, too
        faulty.resume()
        graftwork.jobs.cancel(job)
        following.join()
        assert seen == [event["seq"] for event in graftwork.jobs.events(job)]


def refused(running: Service, path: str) -> bool:
    return httpx.get(running.url + path, headers=HEADERS, trust_env=False, timeout=HANGS).status_code == 503


@pytest.mark.slow
def test_a_lock_that_is_held_for_long_delays_and_loses_nothing(tmp_path: Path, digits: Digits) -> None:
    """Somebody else writes for longer than anybody waits: a submit is refused in time, and works when repeated."""
    with service(tmp_path, lease_seconds=600) as running, running.up().client() as graftwork:
        job = begin(graftwork, digits, steps=1500)
        body = {"kind": "pretraining", "dataset": graftwork.jobs.get(job)["dataset"], "training": {"steps": 1}}
        wait_until(lambda: graftwork.jobs.get(job)["progress"], "it has begun")
        with writing(running):
            began = time.monotonic()
            answer = submit(running, body)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert time.monotonic() - began < 60
            assert httpx.get(f"{running.url}/v1/jobs/{job}", headers=HEADERS, trust_env=False).status_code == 200
        assert submit(running, body).status_code == 202
        assert graftwork.jobs.wait(job, timeout=HANGS)["attempt"] == 1


def submit(running: Service, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{running.url}/v1/jobs", json=body, headers=HEADERS, trust_env=False, timeout=HANGS)


@contextmanager
def writing(running: Service) -> Iterator[None]:
    """Hold the lock of the database."""
    file = running.folder / "data" / "graftwork.db"
    with closing(sqlite.connect(file, timeout=HANGS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("where", ["header", "page"])
def test_a_damaged_database_is_not_started_on(tmp_path: Path, migrated: Path, where: str) -> None:
    with service(tmp_path) as running:
        file = tmp_path / "data" / "graftwork.db"
        file.parent.mkdir()
        content = bytearray(migrated.read_bytes())
        begin = 0 if where == "header" else 2 * 4096
        content[begin : begin + 64] = bytes(byte ^ 0xFF for byte in content[begin : begin + 64])
        file.write_bytes(content)
        refused = running.run("up", "--port", str(running.port))
        assert refused.wait(HANGS) == 1
        last = running.log.read_text().strip().split("\n")[-1]
        assert "graftwork.db is damaged" in last
        assert "docs/operations.md" in last
        assert file.read_bytes() == bytes(content)
