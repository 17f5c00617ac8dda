"""What one process changes, another follows: it has loaded what a reference means before it answers by it."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI

from app.artifacts import blob_key
from app.db.tables import ModelRow
from app.dependencies import Services
from app.main import create_app
from app.predictions.preloading import Preloading
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.servers import wait_until

pytestmark = pytest.mark.one_database

PRODUCTION = "/v1/models/sizes/aliases/production"
INPUTS = {"inputs": [[1, 2, 3]]}
QUERIES = ("", "?unknown=warn")  # both ways of answering


@pytest.fixture
def versions(services: Services, project_id: str) -> list[ModelRow]:
    return [add_model(services, project_id, "sizes", seed=seed) for seed in range(3)]


@pytest.fixture
def other(settings: Settings, app: FastAPI) -> Iterator[FastAPI]:
    """A second application on the database of the first, as another process is."""
    other = create_app(settings, queue=MemoryQueue())
    other.state.services.engine.references.clock = Clock()
    yield other
    other.state.services.database.close()


class Clock:
    """A clock that tests set forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def later(app: FastAPI, seconds: float) -> None:
    app.state.services.engine.references.clock.ahead += seconds


@contextmanager
def background_busy(services: Services) -> Iterator[None]:
    """Nothing is loaded in the background meanwhile."""
    done = threading.Event()
    services.engine.in_background(done.wait)
    try:
        yield
    finally:
        done.set()


def versions_answered(client: Http) -> set[int]:
    """The version that each way of answering names; what it answers are that version's own predictions."""
    answers = [client.post(f"/v1/models/sizes@production/predictions{query}", json=INPUTS) for query in QUERIES]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        own = client.post(f"/v1/models/{answer.json()['model']['id']}/predictions", json=INPUTS).json()
        assert answer.json() == own
    return {answer.json()["model"]["version"] for answer in answers}


def test_another_process_loads_what_an_alias_means_before_it_answers_by_it(
    client: Http, other: FastAPI, key: str, versions: list[ModelRow]
) -> None:
    engine, far = other.state.services.engine, Http(other, key)
    client.put(PRODUCTION, json={"model": "sizes@1"})
    assert versions_answered(far) == {1}
    with background_busy(other.state.services):
        client.put(PRODUCTION, json={"versions": {"2": 1, "3": 1}})
        later(other, 2)
        assert versions_answered(far) == {1}
        assert engine.loaded() == [versions[0].id]
    wait_until(lambda: len(engine.loaded()) == 3, "both versions are loaded")
    wait_until(lambda: versions_answered(far) <= {2, 3}, "they answer")


def test_the_former_version_answers_for_some_seconds_at_most(
    client: Http, other: FastAPI, key: str, versions: list[ModelRow]
) -> None:
    far = Http(other, key)
    client.put(PRODUCTION, json={"model": versions[0].id})
    assert versions_answered(far) == {1}
    with background_busy(other.state.services):
        client.put(PRODUCTION, json={"model": "sizes@2"})
        later(other, 2)
        assert versions_answered(far) == {1}
        later(other, 11)
        assert versions_answered(far) == {2}  # however long loading in the background takes


def test_it_is_loaded_though_nobody_asks(client: Http, other: FastAPI, key: str, versions: list[ModelRow]) -> None:
    engine, far, preloading = other.state.services.engine, Http(other, key), Preloading(other.state.services)
    client.put(PRODUCTION, json={"model": "sizes@1"})
    client.put("/v1/models/sizes/aliases/unused", json={"model": "sizes@1"})
    assert versions_answered(far) == {1}
    client.put(PRODUCTION, json={"model": "sizes@2"})
    client.put("/v1/models/sizes/aliases/unused", json={"model": "sizes@3"})
    later(other, 2)
    preloading.act()
    wait_until(lambda: engine.loaded() == [versions[0].id, versions[1].id], "the new version is in memory")
    assert versions_answered(far) == {2}
    later(other, 700)  # nobody has asked for it for so long
    client.put(PRODUCTION, json={"model": "sizes@3"})
    preloading.act()
    engine.in_background(lambda: None).result()
    assert versions[2].id not in engine.loaded()
    assert versions_answered(far) == {3}


def test_what_another_process_deletes_is_gone(client: Http, other: FastAPI, key: str, versions: list[ModelRow]) -> None:
    far, url = Http(other, key), "/v1/models/sizes@production/predictions"
    client.put(PRODUCTION, json={"model": "sizes@1"})
    assert versions_answered(far) == {1}
    assert client.delete(f"/v1/models/{versions[0].id}").status_code == 204
    later(other, 2)
    Preloading(other.state.services).act()
    for ref in (f"/v1/models/{versions[0].id}/predictions", url):
        check_problem(far.post(ref, json=INPUTS), 404, "model_not_found")


def test_a_version_that_cannot_be_loaded_is_told(
    client: Http, other: FastAPI, key: str, versions: list[ModelRow], caplog: pytest.LogCaptureFixture
) -> None:
    far, services = Http(other, key), other.state.services
    client.put(PRODUCTION, json={"model": "sizes@1"})
    assert versions_answered(far) == {1}
    client.put(PRODUCTION, json={"model": "sizes@2"})
    path = services.artifacts.fetch(blob_key(versions[1].files["heads.safetensors"]["sha256"]))
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    later(other, 2)
    with caplog.at_level(logging.WARNING, "app.models.loading"):
        Preloading(services).act()
        services.engine.in_background(lambda: None).result()
    assert "cannot be loaded" in caplog.text
    for query in QUERIES:
        answer = far.post(f"/v1/models/sizes@production/predictions{query}", json=INPUTS)
        check_problem(answer, 500, "corrupt_artifact")


def test_who_asks_for_nothing_costs_no_query(client: Http, other: FastAPI, key: str, versions: list[ModelRow]) -> None:
    services = other.state.services
    preloading, database = Preloading(services), services.database
    preloading.act()
    assert database.statements == 0
    Http(other, key).post(f"/v1/models/{versions[0].id}/predictions", json=INPUTS)
    later(other, 2)
    before = database.statements
    preloading.act()
    assert database.statements > before


def test_nothing_is_waited_for_where_the_new_version_is_in_memory_or_the_former_is_not(
    client: Http, other: FastAPI, key: str, versions: list[ModelRow]
) -> None:
    far, engine = Http(other, key), other.state.services.engine
    client.put(PRODUCTION, json={"model": "sizes@1"})
    assert versions_answered(far) == {1}
    far.post(f"/v1/models/{versions[1].id}/predictions", json=INPUTS)
    with background_busy(other.state.services):
        client.put(PRODUCTION, json={"model": "sizes@2"})
        later(other, 2)
        assert versions_answered(far) == {2}
        engine.unload(versions[1].id)
        client.put(PRODUCTION, json={"model": "sizes@3"})
        later(other, 2)
        assert versions_answered(far) == {3}
