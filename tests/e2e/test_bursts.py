"""More requests at a time than the service works on: each is answered, and what is accepted is there."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.support.servers import HANGS, KEY, Postgres, service
from tests.support.work import run_jobs

REQUESTS, AT_ONCE, MAX = 320, 300, 200  # there are 30 connections to the database


@pytest.mark.slow
def test_a_burst_of_submits_is_accepted_or_refused_and_nothing_is_lost(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.url(postgres.create())
    with service(tmp_path, database_url=url, max_requests=MAX) as running:
        assert running.run("migrate").wait(HANGS) == 0
        running.run("api", "--port", str(running.port))
        running.wait_ready()
        with running.client() as graftwork:
            dataset = graftwork.datasets.create({"x": [[float(n), 0.0] for n in range(30)]}, name="rows", wait=False)
        run_jobs(Settings(data=tmp_path / "data", database_url=url))
        body = {"kind": "pretraining", "dataset": dataset["id"], "training": {"steps": 1}, "priority": -1}
        headers = {"Authorization": f"Bearer {KEY}"}
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)  # a connection each: none is idle
        with httpx.Client(
            base_url=running.url, headers=headers, trust_env=False, timeout=HANGS, limits=limits
        ) as client:

            def submit(_: int) -> httpx.Response:
                return client.post("/v1/jobs", json=body)

            with ThreadPoolExecutor(AT_ONCE) as pool:
                answers = list(pool.map(submit, range(REQUESTS)))
            codes = Counter(answer.status_code for answer in answers)
            assert codes.keys() <= {202, 429}, codes
            assert codes[202] >= MAX
            refused = [answer for answer in answers if answer.status_code == httpx.codes.TOO_MANY_REQUESTS]
            assert all(answer.headers["Retry-After"] == "1" for answer in refused)
            jobs = {answer.json()["id"] for answer in answers if answer.status_code == httpx.codes.ACCEPTED}
        with running.client() as graftwork:
            assert jobs <= {job["id"] for job in graftwork.jobs.list()}
