"""More requests at a time than the service works on: each is answered, and what is accepted is there."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.support.servers import KEY, Postgres, service

REQUESTS, AT_ONCE, MAX = 500, 300, 200  # there are 30 connections to the database
SLOWEST = 60.0  # a deadlock of threads and connections would take the pool's 10 s several times


def test_a_burst_of_submits_is_accepted_or_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    server = Postgres()
    try:
        with service(tmp_path, database_url=server.url(server.create()), max_requests=MAX) as running:
            with running.up().client() as graftwork:
                dataset = graftwork.datasets.create({"x": [[float(n), 0.0] for n in range(30)]}, name="rows")["id"]
            body = {"kind": "pretraining", "dataset": dataset, "training": {"steps": 1}, "priority": -1}
            headers = {"Authorization": f"Bearer {KEY}"}
            limits = httpx.Limits(max_connections=AT_ONCE)
            with httpx.Client(
                base_url=running.url, headers=headers, trust_env=False, timeout=SLOWEST, limits=limits
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
    finally:
        server.stop()
