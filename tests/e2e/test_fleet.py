"""Two APIs on one database and one store, behind a balancer that sends each connection to the next of them."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.artifacts import open_store
from app.db.session import Database
from app.db.tables import ProjectRow
from app.settings import Settings
from tests.support.balancer import Balancer, balancer
from tests.support.models import add_bundle, make_bundle
from tests.support.servers import HANGS, KEY, Postgres, Service, service, wait_until

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": f"Bearer {KEY}"}
ROWS = [{"width": 3, "height": 4, "depth": -5}, {"width": -1, "height": 0.5, "depth": 2}]
ALIAS_SECONDS = 12.0  # an alias counts everywhere after 2, or after 10 more while a model is loaded


class Fleet:
    """Two APIs and what balances them; every request is a connection of its own."""

    def __init__(self, apis: tuple[Service, Service], balancer: Balancer) -> None:
        self.apis, self.balancer = apis, balancer
        self.url = f"http://127.0.0.1:{balancer.port}"

    def ask(self, method: str, path: str, *, url: str | None = None, **fields: Any) -> httpx.Response:
        headers = {**HEADERS, "Connection": "close", **fields.pop("headers", {})}
        where = (url or self.url) + path
        return httpx.request(method, where, headers=headers, trust_env=False, timeout=HANGS, **fields)

    def version(self, ref: str, url: str | None = None) -> int:
        answer = self.ask("POST", f"/v1/models/{ref}/predictions", url=url, json={"inputs": ROWS})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["model"]["version"])

    def wait_for(self, version: int, ref: str, url: str) -> None:
        wait_until(lambda: self.version(ref, url) == version, f"{ref} means {version} at {url}")


@pytest.fixture
def fleet(tmp_path: Path, postgres: Postgres) -> Iterator[Fleet]:
    """Two APIs that share a folder and a database with two versions of a model."""
    shared = {"database_url": postgres.url(postgres.create()), "data": tmp_path / "data"}
    with ExitStack() as stack:
        apis = [stack.enter_context(service(tmp_path / name, **shared)) for name in ("one", "other")]
        assert apis[0].run("migrate").wait(HANGS) == 0, apis[0].log.read_text()
        for each in apis:
            each.run("api", "--port", str(each.port))
            each.wait_ready()
        settings = Settings(data=tmp_path / "data", database_url=shared["database_url"])
        with closing(Database(settings.sql_url)) as database:
            services: Any = SimpleNamespace(database=database, artifacts=open_store(settings))
            with database.reading() as session:
                (project,) = session.scalars(select(ProjectRow.id))
            for seed in range(2):
                add_bundle(services, project, "sizes", make_bundle(seed=seed))
        running = stack.enter_context(balancer(*(each.port for each in apis)))
        yield Fleet((apis[0], apis[1]), running)


def test_any_api_answers_anything(fleet: Fleet) -> None:
    answers = {
        version: [
            fleet.ask("POST", f"/v1/models/sizes@{version}/predictions", json={"inputs": ROWS}).json()["predictions"]
            for _ in range(4)
        ]
        for version in (1, 2)
    }
    assert all(each == same[0] for same in answers.values() for each in same)
    assert answers[1][0] != answers[2][0]
    assert set(fleet.balancer.counts) == {each.port for each in fleet.apis}, "both were asked"

    key = {"Idempotency-Key": "one-dataset"}
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (row, row % 7) for row in range(2000))
    half = len(content) // 2
    body = {"filename": "rows.csv", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    upload = fleet.ask("POST", "/v1/uploads", json=body).json()["id"]
    for number, part in ((2, content[half:]), (1, content[:half])):
        sent = fleet.ask("PUT", f"/v1/uploads/{upload}/parts/{number}", content=part)
        assert sent.status_code == 200, sent.text
    assert fleet.ask("POST", f"/v1/uploads/{upload}/complete").json()["status"] == "complete"
    datasets = {
        fleet.ask("POST", "/v1/datasets", json={"upload": upload, "name": "rows"}, headers=key).json()["id"]
        for _ in range(3)
    }
    assert len(datasets) == 1, "a repeated request is the same one, whoever answers it"


def test_an_alias_moves_everywhere(fleet: Fleet) -> None:
    for version in (1, 2, 1):
        moved = fleet.ask("PUT", "/v1/models/sizes/aliases/best", json={"model": f"sizes@{version}"})
        assert moved.status_code == 200, moved.text
        began = time.monotonic()
        for each in fleet.apis:
            fleet.wait_for(version, "sizes@best", each.url)
        assert time.monotonic() - began < ALIAS_SECONDS


def test_an_api_that_ends_is_not_missed(fleet: Fleet) -> None:
    assert fleet.version("sizes@2") == 2
    fleet.apis[0].stop()
    assert [fleet.version("sizes@2") for _ in range(4)] == [2] * 4
