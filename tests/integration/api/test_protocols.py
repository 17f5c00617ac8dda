"""Other protocols, spoken by the clients that people have, against a real server; and streams that break off."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.dependencies import Services
from app.ml.models.generation import _Reader
from app.settings import Settings
from tests.support.live import served
from tests.support.models import add_bundle
from tests.support.servers import wait_until
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data


@pytest.fixture
def settings(data_folder: Path, migrated: Path) -> Settings:
    """SQLite alone: the SQL is that of other modules."""
    data_folder.mkdir()
    shutil.copy(migrated, data_folder / "graftwork.db")
    return Settings(data=data_folder)


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    with served(app) as port:
        yield port


@pytest.fixture
def verses(services: Services, project_id: str) -> None:
    """A language model that has seen one step, with an alias."""
    request = {"backbone": SMALL, "preprocessing": CHARACTERS, "training": {"steps": 1, "batch_size": 8}}
    run = run_of(
        text_data(["abcabc", "bcabca"] * 6), {**request, "heads": [{"kind": "generator"}], "strategy": {"kind": "full"}}
    )
    run.state.objective.eval()
    add_bundle(services, project_id, "verses", run.bundle())


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each token that is computed."""
    computed: list[int] = []
    advance = _Reader.advance

    def counted(reader: _Reader, *arguments: object) -> None:
        computed.append(1)
        advance(reader, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_Reader, "advance", counted)
    return computed


@pytest.mark.usefixtures("verses")
def test_who_hangs_up_is_not_computed_for(port: int, key: str, services: Services, tokens: list[int]) -> None:
    """8 x 4,096 tokens take long; of a stream that nobody reads only the first are computed."""
    body = json.dumps({"inputs": ["ab"] * 8, "max_tokens": 4096, "temperature": 1}).encode()
    head = (
        f"POST /v1/models/verses/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        assert b"200 OK" in connection.recv(1000)
    url, headers = f"http://127.0.0.1:{port}/v1/models/verses/embeddings", {"Authorization": f"Bearer {key}"}
    counts: list[int] = []

    def stands_still() -> bool:
        httpx.post(url, json={"inputs": ["ab"]}, headers=headers, trust_env=False).raise_for_status()
        counts.append(len(tokens))
        return counts[-2:-1] == counts[-1:]

    wait_until(stands_still, "no more tokens are computed")
    assert counts[-1] < 4096
