"""A request says how long its answer may take; one that nobody waits for is not computed."""

import asyncio
import io
import threading
from typing import Any, ClassVar

import numpy as np
import pytest
from fastapi import FastAPI

from app.dependencies import Services
from app.errors import DeadlineError
from app.ml.interfaces.doubts import Doubts
from app.predictions.deadlines import Deadline, arrival, in_time
from tests.support.http import BASE, Http
from tests.support.models import add_model
from tests.support.problems import check_problem

pytestmark = pytest.mark.one_database

ROW = [1.0, 2.0, 3.0]


def npy(rows: list[list[float]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(rows))
    return buffer.getvalue()


class Slow:
    """A model that computes a row at a time; each waits for a step of the test."""

    rows_at_once, rows_in_a_turn = 8, 1
    parts: ClassVar[dict[str, int]] = {}
    family = backbone = None
    heads = ("size",)

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.blocks = 0

    def decode(self, inputs: Any, doubts: Doubts | None = None) -> Any:
        return np.array(inputs)

    def predict(self, rows: Any, *_: Any, **__: Any) -> Any:
        self.blocks += 1
        self.begun.release()
        assert self.go_on.acquire(timeout=240)
        return [{"size": {"class": "large", "probabilities": {"large": 1.0, "small": 0.0}}} for _ in rows]

    def encode(self, rows: Any) -> Any:
        return rows

    def predict_encoded(self, encoded: Any, *_: Any) -> Any:
        return self.predict(encoded)

    def embed(self, rows: Any) -> Any:
        return np.array([[0.0] for _ in self.predict(rows)], dtype=np.float32)


@pytest.fixture
def slow(services: Services, project_id: str) -> Slow:
    model, slow = add_model(services, project_id, "sizes"), Slow()
    services.engine.resident(model.id, lambda: slow)  # type: ignore[arg-type, return-value]
    return slow


@pytest.mark.parametrize("operation", ["predictions", "embeddings"])
def test_an_answer_that_takes_too_long_is_504(client: Http, slow: Slow, operation: str) -> None:
    for _ in range(3):
        slow.go_on.release()
    url = f"/v1/models/sizes/{operation}"
    assert client.post(f"{url}?timeout=600", json={"inputs": [ROW] * 3}).status_code == 200
    slow.blocks = 0
    timer = threading.Timer(0.3, slow.go_on.release)
    timer.start()
    answer = client.post(f"{url}?timeout=0.1", json={"inputs": [ROW] * 50})
    check_problem(answer, 504, "deadline_exceeded")
    assert "0.1 s" in answer.json()["detail"]
    assert slow.blocks == 1


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "field": ("/v1/models/sizes/predictions?timeout=600", {"json": {"inputs": [ROW] * 50, "timeout": 0.1}}),
    "embeddings": ("/v1/models/sizes/embeddings", {"json": {"inputs": [ROW] * 50, "timeout": 0.1}}),
    "form": (
        "/v1/models/sizes/predictions",
        {"files": {"file": ("a.npy", npy([ROW] * 50), "application/x-npy")}, "data": {"timeout": "0.1"}},
    ),
    "several models": ("/v1/predictions", {"json": {"models": ["sizes"], "inputs": [ROW] * 50, "timeout": 0.1}}),
    "Open Inference": (
        "/v2/models/sizes/infer",
        {
            "json": {
                "inputs": [{"name": "inputs", "datatype": "FP64", "shape": [50, 3], "data": [ROW] * 50}],
                "parameters": {"timeout": 100_000},
            }
        },
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_body_says_how_long_it_may_take(client: Http, slow: Slow, way: str) -> None:
    url, request = WAYS[way]
    timer = threading.Timer(0.3, slow.go_on.release)
    timer.start()
    answer = client.post(url, **request)
    assert answer.status_code == 504, answer.text
    assert "0.1 s" in answer.text
    assert slow.blocks == 1


def test_other_protocols_have_the_default(client: Http, app: FastAPI, slow: Slow) -> None:
    services = app.state.services
    settings = services.settings.model_copy(update={"prediction_seconds": 0.1})
    app.state.services = Services(**{**services.__dict__, "settings": settings})
    url, request = WAYS["Open Inference"]
    for parameters in ({}, {"timeout": 0}):
        timer = threading.Timer(0.3, slow.go_on.release)
        timer.start()
        answer = client.post(url, json={**request["json"], "parameters": parameters})
        assert answer.status_code == 504, answer.text


@pytest.mark.parametrize("timeout", [0, -1, 1e9, "soon", True])
def test_a_field_that_is_no_time_is_refused(client: Http, slow: Slow, timeout: Any) -> None:
    answer = client.post("/v1/models/sizes/predictions", json={"inputs": [ROW], "timeout": timeout})
    check_problem(answer, 422)
    assert answer.json()["errors"][0]["loc"] == ["body", "timeout"]


@pytest.mark.parametrize("timeout", [-1, 0.5, 3_600_000_001, "1", True, None])
def test_microseconds_that_are_none_are_refused(client: Http, slow: Slow, timeout: Any) -> None:
    url, request = WAYS["Open Inference"]
    answer = client.post(url, json={**request["json"], "parameters": {"timeout": timeout}})
    assert answer.status_code == 400
    assert "microseconds" in answer.json()["error"]


def test_the_short_way_ends_when_the_time_is_up() -> None:
    """Its answer is cancelled, and the endpoint, which counts from the same arrival, finds the time to be up."""

    async def computed() -> str:
        await asyncio.sleep(3600)
        return "late"

    async def ready() -> str:
        return "in time"

    scope: dict[str, Any] = {"state": {}}
    with pytest.raises(TimeoutError):
        asyncio.run(in_time(scope, 0.05, computed()))
    with pytest.raises(DeadlineError):
        Deadline(arrival(scope), 0.05, lambda: False).check()
    assert asyncio.run(in_time({"state": {}}, 60, ready())) == "in time"


def test_the_default_is_a_setting(client: Http, app: FastAPI, slow: Slow) -> None:
    services = app.state.services
    settings = services.settings.model_copy(update={"prediction_seconds": 0.1})
    app.state.services = Services(**{**services.__dict__, "settings": settings})
    timer = threading.Timer(0.3, slow.go_on.release)
    timer.start()
    check_problem(client.post("/v1/models/sizes/predictions?unknown=warn", json={"inputs": [ROW] * 50}), 504)


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "1e9", "soon", ""])
def test_what_is_no_time_is_refused(client: Http, slow: Slow, timeout: str) -> None:
    answer = client.post(f"/v1/models/sizes/predictions?timeout={timeout}", json={"inputs": [ROW]})
    check_problem(answer, 422)
    assert answer.json()["errors"][0]["loc"] == ["query", "timeout"]


def test_what_nobody_waits_for_is_not_computed(app: FastAPI, client: Http, key: str, slow: Slow) -> None:
    sent = []
    hung_up = threading.Event()
    body = [b'{"inputs": [' + b",".join([b"[1, 2, 3]"] * 50) + b"]}"]

    async def receive() -> Any:
        if body:
            return {"type": "http.request", "body": body.pop(), "more_body": False}
        while not hung_up.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", BASE.split("//")[1].encode()), (b"authorization", f"Bearer {key}".encode())]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body[0])).encode())]
    path = "/v1/models/sizes/predictions"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "http_version": "1.1"}
    scope |= {"query_string": b"timeout=600", "headers": headers, "scheme": "http", "client": ("127.0.0.1", 1)}
    scope |= {"server": ("127.0.0.1", 80), "root_path": ""}

    def hang_up() -> None:
        assert slow.begun.acquire(timeout=240)
        hung_up.set()
        slow.go_on.release()

    thread = threading.Thread(target=hang_up)
    thread.start()
    asyncio.run(app(scope, receive, send))
    thread.join()
    assert sent[0]["status"] == 400
    assert slow.blocks == 1
