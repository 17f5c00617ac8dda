"""What an operator asks: what is missing, and the figures."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from app.db.session import Database
from app.jobs import lease as leases
from app.jobs import workers
from app.queue import CeleryQueue
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.servers import valkey, wait_until

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(client: Http) -> Figures:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(found: Figures, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def test_readiness_says_what_is_missing(client: Http, database: Database) -> None:
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["parts"]["database"] == "ok"
    assert "none was seen" in answer.json()["parts"]["workers"]
    with database.writing() as session:
        workers.sign_in(session, "one", {"cpu": 1})
    assert client.get("/health/ready").json() == {
        "status": "ok",
        "parts": dict.fromkeys(("database", "workers", "broker", "storage", "requests", "streams"), "ok"),
    }


def test_the_figures_follow_a_job(client: Http, database: Database) -> None:
    rows = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(20))
    made = client.post("/v1/datasets", files={"file": ("rows.csv", rows)}, data={"name": "rows"}).json()
    found = figures(client)
    assert value(found, "graftwork_jobs", kind="preparation", status="queued") == 1
    oldest = value(found, "graftwork_oldest_queued_job_seconds")
    assert oldest is not None
    assert 0 < oldest < 60
    waits = {device: value(found, "graftwork_queue_seconds", device=device) for device in ("auto", "cpu", "cuda")}
    assert (waits["auto"], waits["cpu"], waits["cuda"]) == (pytest.approx(oldest, abs=60), 0, 0)
    assert waits["auto"] > 0
    posted = {"method": "POST", "route": "/v1/datasets", "status": "202"}
    assert value(found, "graftwork_request_seconds_count", **posted) == 1
    client.get("/nowhere")
    client.request("MADE-UP", "/health/live")
    with database.writing() as session:
        workers.sign_in(session, "one", {"cpu": 1, "cuda": 1})
        lease = leases.claim(session, "one", -1)
        assert lease is not None
        leases.move(session, lease, "running")
        progress = {"fraction": 0.5, "step": 10, "total_steps": 20, "epoch": 0, "eta_seconds": 5.0}
        leases.write(session, lease, progress=progress)
    found = figures(client)
    assert value(found, "graftwork_jobs", kind="preparation", status="running") == 1
    assert value(found, "graftwork_oldest_queued_job_seconds") == 0
    assert value(found, "graftwork_workers", device="cuda") == 1
    assert value(found, "graftwork_step_seconds", kind="preparation") == 0.5
    assert value(found, "graftwork_request_seconds_count", method="GET", route="none", status="404") == 1
    assert not any("MADE-UP" in str(labels) for _, labels in found)
    with database.writing() as session:
        assert leases.sweep(session, 3) == 1
    assert value(figures(client), "graftwork_attempts_total", ending="silent") == 1
    assert client.get(f"/v1/datasets/{made['id']}").status_code == 200


def test_figures_are_the_operators(app: FastAPI, make_key: MakeKey) -> None:
    check_problem(Http(app, make_key("default", ("read", "write", "predict"))).get("/metrics"), 403, "missing_scope")


@contextmanager
def hung_broker() -> Iterator[str]:
    """Connections are accepted by the kernel, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_hung_broker_costs_half_a_second_and_is_told() -> None:
    with hung_broker() as url:
        queue = CeleryQueue(url)
        for call in (queue.reachable, queue.ring):
            began = time.monotonic()
            assert not call()
            assert time.monotonic() - began < 60
        assert queue.failures == 1
        assert min(seconds_of(queue.ring) for _ in range(5)) < 0.4, "it has just been seen to hang"


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_rings_do_not_pile_up() -> None:
    with valkey() as url:
        queue = CeleryQueue(url)
        wait_until(queue.reachable, "the broker answers")
        assert all(queue.ring() for _ in range(200))
        waiting = redis.Redis.from_url(url)
        assert waiting.llen("graftwork:default") == 64
        waiting.close()
