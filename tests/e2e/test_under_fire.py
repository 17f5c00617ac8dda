"""Predictions while aliases move, models are evicted and APIs are killed: no answer is wrong, and none is lost.

GRAFTWORK_FIRE_SECONDS says for how long, a minute by default; `make fire` takes twenty.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from sqlalchemy import select

from app.artifacts import open_store
from app.db.session import Database
from app.db.tables import ProjectRow
from app.settings import Settings
from tests.support.models import add_bundle, make_bundle
from tests.support.servers import HANGS, KEY, Service, service, wait_until

VERSIONS, LOADED, CLIENTS, CONNECTION_REQUESTS = 6, 3, 4, 20
SECONDS = float(os.environ.get("GRAFTWORK_FIRE_SECONDS", "60"))
KILL_SECONDS, MOVE_SECONDS = min(60.0, SECONDS / 6), 0.3
PAUSE_SECONDS = 0.005  # of a client between requests: other tests run beside this one, and the APIs have to start
ROWS = [{"width": 3, "height": 4, "depth": -5}, {"width": -1, "height": 0.5, "depth": 2}]
ROWS += [{"width": 100 * ROWS[0]["width"], "height": 1, "depth": 1, "else": 1}]  # that goes another way inside
MIN_KILLS = 3
GROWTH = 1.25  # of memory since the first quarter of the time


class Fire:
    """What asks, and what comes of it."""

    def __init__(self, url: str, expected: dict[int, list[dict[str, float]]]) -> None:
        self.url = f"{url}/v1/models"
        self.expected = expected  # probabilities of ROWS by version
        self.counts: Counter[str] = Counter()
        self.cuts = 0  # connections that were cut, or refused
        self.faults: list[str] = []
        self.over = threading.Event()

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(timeout=HANGS, trust_env=False, headers=headers)

    def sent(self, request: Callable[[], httpx.Response]) -> httpx.Response:
        """Send a request again while connections are cut."""
        while True:
            try:
                return request()
            except httpx.TransportError:
                self.cuts += 1
                time.sleep(0.05)

    def ask(self, seed: int) -> None:
        """Ask by references of every sort, and compare each answer with the version that it names."""
        random = np.random.default_rng(seed)
        while not self.over.is_set():
            with self.client() as client:  # a new connection, to either API
                for _ in range(CONNECTION_REQUESTS):
                    version, row = int(random.integers(1, VERSIONS + 1)), int(random.integers(len(ROWS)))
                    ref = ("sizes@best", "sizes@best", f"sizes@{version}", "sizes")[random.integers(4)]
                    url, body = f"{self.url}/{ref}/predictions", {"inputs": [ROWS[row]]}
                    answer = self.sent(lambda url=url, body=body: client.post(url, json=body))  # type: ignore[misc]
                    self.counts["asked"] += 1
                    self.check(ref, row, answer)
                    time.sleep(PAUSE_SECONDS)

    def check(self, ref: str, row: int, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            self.faults.append(f"{ref}: {answer.status_code} {answer.text[:200]}")
            return
        body = answer.json()
        version = body["model"]["version"]
        self.counts[f"version {version}"] += 1
        if body["predictions"][0]["size"]["probabilities"] != pytest.approx(self.expected[version][row], abs=1e-5):
            self.faults.append(f"{ref}, row {row}: {body}")
        if "best" not in ref and version != int(ref.partition("@")[2] or VERSIONS):
            self.faults.append(f"{ref} was answered by {version}")

    def move(self) -> None:
        """Move the alias from version to version."""
        random = np.random.default_rng(0)
        with self.client() as client:
            while not self.over.wait(MOVE_SECONDS):
                model = f"sizes@{random.integers(1, VERSIONS + 1)}"
                url, body = f"{self.url}/sizes/aliases/best", {"model": model}
                answer = self.sent(lambda url=url, body=body: client.put(url, json=body))  # type: ignore[misc]
                self.counts["moved"] += 1
                if answer.status_code != 200:
                    self.faults.append(f"move: {answer.status_code} {answer.text[:200]}")


def add_versions(running: Service) -> dict[int, list[dict[str, float]]]:
    """Register the versions, and return what each answers."""
    settings = Settings(data=running.folder / "data")
    with closing(Database(settings.sql_url)) as database:
        services: Any = SimpleNamespace(database=database, artifacts=open_store(settings))
        with database.reading() as session:
            (project_id,) = session.scalars(select(ProjectRow.id))
        first = make_bundle()
        for seed in range(VERSIONS):
            bundle = make_bundle(seed=seed)
            shares = seed % 3 != 2  # a backbone, so that it is computed together with others
            add_bundle(services, project_id, "sizes", replace(bundle, backbone=first.backbone) if shares else bundle)
    with running.client() as graftwork:
        return {
            version: [one["size"]["probabilities"] for one in graftwork.models.predict(f"sizes@{version}", ROWS)]
            for version in range(1, VERSIONS + 1)
        }


def apis(running: Service) -> list[psutil.Process]:
    return [each for each in running.tree("app.cli.main") if each.cmdline()[-1] == "api"]


def listens(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections())
    return False


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.filterwarnings("default")
def test_no_answer_is_wrong_and_none_is_lost(tmp_path: Path) -> None:
    with service(tmp_path, api_processes=2, loaded_models=LOADED) as running:
        running.up()
        wait_until(lambda: len(apis(running)) == 2 and all(map(listens, apis(running))), "two APIs listen")
        expected = add_versions(running)
        assert len({str(answers) for answers in expected.values()}) == VERSIONS
        fire = Fire(running.url, expected)
        with fire.client() as client:
            assert client.put(f"{fire.url}/sizes/aliases/best", json={"model": "sizes@1"}).status_code == 200
        threads = [threading.Thread(target=fire.ask, args=(seed,)) for seed in range(CLIENTS)]
        threads.append(threading.Thread(target=fire.move))
        for thread in threads:
            thread.start()
        survivor, kills, memory = apis(running)[0], 0, [0]
        try:
            began = time.monotonic()
            while time.monotonic() < began + SECONDS or kills < MIN_KILLS:
                time.sleep(KILL_SECONDS)
                memory.append(survivor.memory_info().rss)
                victims = [each for each in apis(running) if each != survivor and listens(each)]
                for victim in victims:
                    victim.kill()
                    kills += 1
        finally:
            fire.over.set()
            for thread in threads:
                thread.join()
        print(fire.counts, f"{kills} kills, {fire.cuts} cut, memory {memory}")  # noqa: T201 - shown by -s
        assert fire.faults == []
        assert fire.cuts > 0, "no API was killed with a request in its hands: the test proves nothing"
        assert fire.cuts <= kills * (CLIENTS + 1)  # no client has more than one request under way
        assert all(fire.counts[f"version {version}"] for version in expected)
        assert fire.counts["moved"] > 0
        assert memory[-1] < GROWTH * memory[1]
