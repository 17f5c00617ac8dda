"""The whole service as processes, with real data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app import failpoints
from graftwork import Graftwork
from graftwork.progress import ENDED
from tests.support.digits import mnist_data
from tests.support.servers import QUICK, Postgres, Service, service, wait_until


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """5,000 MNIST digits in an order without meaning: (5000, 28, 28) uint8 and (5000,) labels."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    return pixels.reshape(-1, 28, 28).astype(np.uint8)[order], labels[order]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`graftwork up` for all tests of a process that need nothing else: a start costs as much as several of them."""
    folder = tmp_path_factory.mktemp("service")
    memory_events = folder / "memory.events"  # stands for the kernel's count of its kills in our control group
    memory_events.write_text("low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n")
    kills = {place: "kill" for place in failpoints.PLACES if place != "migration.begun"} | {"training.step": "kill@5"}
    with service(
        folder,
        **QUICK,
        log_format="json",
        memory_events=memory_events,
        failpoints=" ".join(f"{place}={action}" for place, action in kills.items()),
        failpoints_once=folder / "once",
    ) as started:
        started.disarm()
        yield started.up()


@pytest.fixture(scope="session")
def faulty() -> Iterator[Postgres]:
    """A server of its own, which is ended and started again."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.exhaustive), "postgresql"])
def database_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The setting that leads to a new database, for a slow test of what both kinds do alike."""
    if request.param == "sqlite":
        return {}
    server: Postgres = request.getfixturevalue("postgres")
    return {"database_url": server.url(server.create())}


@pytest.fixture(scope="session")
def on_postgres(faulty: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`graftwork up` on that server, for tests in which no worker dies."""
    folder = tmp_path_factory.mktemp("service")
    with service(folder, database_url=faulty.url(faulty.create()), **QUICK | {"lease_seconds": 60}) as started:
        yield started.up()


@pytest.fixture
def running(shared: Service) -> Iterator[Service]:
    """The shared service, well and idle before and after."""
    shared.wait_ready()
    yield shared
    shared.disarm()
    shared.wait_ready()
    with shared.client() as graftwork:
        for job in unfinished(graftwork):
            graftwork.jobs.cancel(job)
        wait_until(lambda: not unfinished(graftwork), "nobody works any more")


@pytest.fixture
def graftwork(running: Service) -> Iterator[Graftwork]:
    with running.client() as client:
        yield client


def unfinished(graftwork: Graftwork) -> list[str]:
    return [job["id"] for job in graftwork.jobs.list() if job["status"] not in ENDED]
