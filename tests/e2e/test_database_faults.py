"""A database that is restarted, killed, locked or damaged: the service waits or says so, and nothing is lost."""

import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pysqlite3 import dbapi2 as sqlite

from app.client import Graftwork
from tests.support.jobs import step_of, weights
from tests.support.servers import KEY, Postgres, Service, service, wait_until

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
HEADERS = {"Authorization": f"Bearer {KEY}"}
TRAINING = {"steps": 4000, "batch_size": 32, "checkpoint_steps": 500, "seed": 3}
MLP = {"kind": "mlp", "hidden": [128, 64]}


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


def begin(graftwork: Graftwork, digits: Digits) -> str:
    dataset = graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"]
    return str(graftwork.jobs.create(kind="pretraining", dataset=dataset, backbone=MLP, training=TRAINING)["id"])


def goes_on(graftwork: Graftwork, job: str, step: int) -> bool:
    return step_of(graftwork, job) > step


@pytest.mark.slow
def test_a_job_outlives_restarts_of_its_database_without_another_attempt(
    tmp_path: Path, postgres: Postgres, digits: Digits
) -> None:
    quick = {"lease_seconds": 10, "sweep_seconds": 0.5, "poll_seconds": 1}
    with service(tmp_path, database_url=postgres.url(postgres.create()), **quick) as running:
        graftwork = running.up().client()
        undisturbed = weights(graftwork, begin(graftwork, digits))
        job = begin(graftwork, digits)
        for number in (signal.SIGINT, signal.SIGKILL, signal.SIGINT):
            wait_until(partial(goes_on, graftwork, job, step_of(graftwork, job)), "it goes on")
            postgres.restart(number)
        assert weights(graftwork, job) == undisturbed
        assert graftwork.jobs.get(job)["attempt"] == 1
        graftwork.close()


def test_while_the_database_is_away_every_answer_says_so_in_time(tmp_path: Path, postgres: Postgres) -> None:
    with service(tmp_path, database_url=postgres.url(postgres.create())) as running:
        running.up()
        postgres.halt()
        for path in ("/health/ready", "/v1/jobs", "/metrics"):
            began = time.monotonic()
            answer = httpx.get(running.url + path, headers=HEADERS, trust_env=False, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), path
            assert answer.headers["Retry-After"]
            assert time.monotonic() - began < 15
        assert httpx.get(f"{running.url}/health/live", trust_env=False).status_code == 200
        postgres.resume()
        assert httpx.get(f"{running.url}/v1/jobs", headers=HEADERS, trust_env=False).status_code == 200


def test_a_stream_goes_on_once_the_database_is_back(tmp_path: Path, postgres: Postgres, digits: Digits) -> None:
    with service(tmp_path, database_url=postgres.url(postgres.create()), sweep_seconds=0.5) as running:
        graftwork = running.up().client()
        job = begin(graftwork, digits)
        seen: list[int] = []
        following = threading.Thread(target=lambda: seen.extend(event["seq"] for event in graftwork.jobs.follow(job)))
        following.start()
        wait_until(lambda: seen, "something was told")
        postgres.halt()
        wait_until(lambda: refused(running, f"/v1/jobs/{job}/events"), "the stream is refused")
        time.sleep(2)  # whoever follows has met with that, too
        postgres.resume()
        graftwork.jobs.cancel(job)
        following.join()
        assert seen == [event["seq"] for event in graftwork.jobs.events(job)]
        graftwork.close()


def refused(running: Service, path: str) -> bool:
    return httpx.get(running.url + path, headers=HEADERS, trust_env=False, timeout=30).status_code == 503


def test_a_lock_that_is_held_for_long_delays_and_loses_nothing(tmp_path: Path, digits: Digits) -> None:
    """Somebody else writes for longer than anybody waits: a submit is refused in time, and works when repeated."""
    with service(tmp_path, lease_seconds=30) as running:
        graftwork = running.up().client()
        job = begin(graftwork, digits)
        body = {"kind": "pretraining", "dataset": graftwork.jobs.get(job)["dataset"], "training": {"steps": 1}}
        wait_until(lambda: graftwork.jobs.get(job)["progress"], "it has begun")
        holding = threading.Thread(target=hold, args=(running, 14))
        holding.start()
        time.sleep(0.5)
        began = time.monotonic()
        answer = httpx.post(f"{running.url}/v1/jobs", json=body, headers=HEADERS, trust_env=False, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert time.monotonic() - began < 14
        assert httpx.get(f"{running.url}/v1/jobs/{job}", headers=HEADERS, trust_env=False).status_code == 200
        holding.join()
        answer = httpx.post(f"{running.url}/v1/jobs", json=body, headers=HEADERS, trust_env=False, timeout=30)
        assert answer.status_code == 202
        assert graftwork.jobs.wait(job, timeout=150)["attempt"] == 1
        graftwork.close()


def hold(running: Service, seconds: float) -> None:
    connection = sqlite.connect(running.folder / "data" / "graftwork.db", timeout=30, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()


@pytest.mark.parametrize("where", ["header", "page"])
def test_a_damaged_database_is_not_started_on(tmp_path: Path, where: str) -> None:
    with service(tmp_path) as running:
        running.up()
        running.stop()
        file = tmp_path / "data" / "graftwork.db"
        content = bytearray(file.read_bytes())
        begin = 0 if where == "header" else 2 * 4096
        content[begin : begin + 64] = bytes(byte ^ 0xFF for byte in content[begin : begin + 64])
        file.write_bytes(content)
        refused = running.run("up", "--port", str(running.port))
        assert refused.wait(60) == 1
        last = running.log.read_text().strip().split("\n")[-1]
        assert "graftwork.db is damaged" in last
        assert "docs/operations.md" in last
        assert file.read_bytes() == bytes(content)
