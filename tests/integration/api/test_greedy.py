"""What one key asks for without end costs the others nothing: streams, models in turn, bodies of every protocol."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.db.session import Database
from app.db.tables import ProjectRow
from app.dependencies import Services
from app.jobs import repository, workers
from app.jobs.interface import JobColumns
from app.jobs.stream import POLL_SECONDS, Streams
from app.keys.service import Principal
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.bodies import KINDS, costly
from tests.support.http import Http
from tests.support.models import add_model

pytestmark = pytest.mark.one_database

STREAMS = 50
ASKED = 100


def test_event_streams_of_jobs_that_never_end_share_one_query(
    database: Database, project_id: str, client: Http
) -> None:
    """Fifty streams, each of a job of its own, ask the database no more often than one does."""
    with database.writing() as session:
        columns = JobColumns(kind="pretraining", config={})
        jobs = [repository.add(session, project_id, columns, None).id for _ in range(STREAMS)]
    principal = Principal(
        key_id=client.get("/v1/keys").json()["data"][0]["id"], project_id=project_id, scopes=frozenset()
    )
    streams = Streams(database)

    async def follow() -> int:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            lines = [await stack.enter_async_context(aclosing(streams.lines(job, 0, principal, 1000))) for job in jobs]
            for line in lines:
                assert b"following" in await anext(line)
            waiting = [group.create_task(anext(line)) for line in lines]
            await asyncio.sleep(4 * POLL_SECONDS)  # each has read what there was
            begun = database.statements
            await asyncio.sleep(4 * POLL_SECONDS)
            asked = database.statements - begun
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return asked

    assert 0 < asyncio.run(follow()) < STREAMS


def test_readiness_tells_when_a_share_is_exhausted(client: Http, services: Services, database: Database) -> None:
    with database.writing() as session:
        workers.sign_in(session, "one", {"cpu": 1})
    assert client.get("/health/ready").json()["status"] == "ok"
    slots = [services.shares.arrive() for _ in range(services.settings.max_requests)]
    for number, slot in enumerate(slots):
        assert slot is not None
        slot.enter(Principal(key_id=f"key_{number}", project_id="prj_a", scopes=frozenset({"read"})))
    answer = client.get("/health/ready").json()
    assert answer["status"] == "degraded"
    assert answer["parts"]["requests"] != "ok"
    assert answer["parts"]["streams"] == "ok"
    for slot in slots:
        assert slot is not None
        slot.leave()
    assert client.get("/health/ready").json()["status"] == "ok"


def test_models_that_are_asked_in_turn_leave_the_others_answered(
    settings: Settings, database: Database, make_key: MakeKey
) -> None:
    """There is room for two models, and one project asks eight of its own, again and again."""
    app = create_app(settings.model_copy(update={"loaded_models": 2}), queue=MemoryQueue())
    services: Services = app.state.services
    keys = {name: make_key(project=name) for name in ("greedy", "modest")}
    with database.reading() as session:
        ids = {project.name: project.id for project in session.scalars(select(ProjectRow))}
    for number in range(8):
        add_model(services, ids["greedy"], f"greedy-{number}", seed=number)
    add_model(services, ids["modest"], "sizes")
    over = threading.Event()

    def attack(start: int) -> int:
        client, count = Http(app, keys["greedy"]), 0
        while not over.is_set():
            url = f"/v1/models/greedy-{(start + count) % 8}/predictions"
            count += client.post(url, json={"inputs": [[1, 2, 3]]}).status_code == 200
        return count

    client = Http(app, keys["modest"])
    with ThreadPoolExecutor(2) as threads:
        attacks = [threads.submit(attack, start) for start in (0, 4)]
        try:
            answers = [
                client.post(f"/v1/models/sizes/{operation}", json={"inputs": [[1, 2, 3]]})
                for operation in ("predictions", "embeddings")
                for _ in range(ASKED // 2)
            ]
        finally:
            over.set()
    assert sum(answer.status_code == 200 for answer in answers) == ASKED
    assert min(attack.result() for attack in attacks) > 0
    assert len(services.engine.loaded()) <= 2
    services.database.close()


ROUTES = ("/v2/models/sizes/infer", "/openai/v1/embeddings", "/openai/v1/completions", "/v1/predictions")


@pytest.mark.parametrize("kind", KINDS)
def test_costly_bodies_are_refused_by_every_protocol(app: FastAPI, key: str, services: Services, kind: str) -> None:
    content_type, content = costly(kind, 1 << 20)
    client: Any = Http(app, key)
    for route in ROUTES:
        answer = client.post(route, content=content, headers={"content-type": content_type})
        assert answer.status_code in (400, 413, 415, 422), (route, answer.text)
        assert services.shares.memory.held == 0
