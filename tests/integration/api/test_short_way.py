"""Predictions and embeddings of sound requests take a short way; each answer is the one that the endpoint gives.

A query parameter is enough to make a request unusual, so that the endpoint answers it.
"""

import asyncio
import json
import logging
import threading
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from app.db.tables import ModelRow
from app.dependencies import Services
from app.keys.service import Principal
from app.predictions.wire import PredictionWire
from tests.conftest import MakeKey
from tests.support.http import BASE, Http
from tests.support.models import add_bundle, add_model, bundle_of
from tests.support.problems import check_problem

pytestmark = pytest.mark.one_database

ROW = {"width": 3, "height": 4, "depth": -5}


SOUND: dict[str, list[Any]] = {
    "image": [np.arange(64).reshape(8, 8).tolist(), np.full((8, 8), 7).tolist()],
    "table": [[110.5, 0.5, None, "red"], {"width": 120, "weight": 1, "age": 0.5, "colour": "blue"}],
    "series": [[[0.5, 5.0], [0.25, 6]], [[0.1, 5.5], [0, 7]]],
    "text": ["a red ring", "one plus"],
}
DOUBTFUL: dict[str, Any] = {
    "table": {"width": 1e9, "weight": "", "age": None, "colour": "green"},
    "series": [[1e9, 1.0]],
    "text": "one two three four " * 90,
}
WRONG: dict[str, Any] = {"image": [[300]], "table": [1, 2], "series": [["a", "b"]], "text": 5}


def answers(client: Http, url: str, inputs: list[Any], caplog: pytest.LogCaptureFixture) -> tuple[Any, Any]:
    """Return the answers of the short way, which logs no line, and of the endpoint."""
    with caplog.at_level(logging.INFO, "app.middleware"):
        caplog.clear()
        short = client.post(url, json={"inputs": inputs})
        assert url.rsplit("/", 1)[1] not in caplog.text
        long = client.post(f"{url}?unknown=warn", json={"inputs": inputs})
        assert url.rsplit("/", 1)[1] in caplog.text
    return short, long


@pytest.mark.parametrize("operation", ["predictions", "embeddings"])
@pytest.mark.parametrize("modality", ["image", "table", "series", "text"])
def test_both_ways_give_the_same_answer(
    client: Http, services: Services, project_id: str, caplog: pytest.LogCaptureFixture, modality: str, operation: str
) -> None:
    add_bundle(services, project_id, "model", bundle_of(modality))
    url = f"/v1/models/model/{operation}"
    sound = SOUND[modality]
    for inputs in (sound, sound[:1], sound * 200, [*sound, DOUBTFUL.get(modality, sound[0])]):
        short, long = answers(client, url, inputs, caplog)
        assert short.status_code == long.status_code == 200, short.text
        assert short.content == long.content
        assert bool(short.json()["warnings"]) == (len(inputs) == 3 and modality in DOUBTFUL)
        assert short.headers["content-type"] == long.headers["content-type"]
        assert short.headers["x-content-type-options"] == "nosniff"
        assert short.headers["x-request-id"].startswith("req_")
    bad = [sound[0], WRONG[modality]]
    ways = (client.post(each, json={"inputs": bad}) for each in (url, f"{url}?unknown=warn"))
    errors = [check_problem(answer, 422)["errors"] for answer in ways]
    assert errors[0] == errors[1]


@pytest.fixture
def model(services: Services, project_id: str) -> ModelRow:
    return add_model(services, project_id, "sizes")


def test_refusals_are_the_endpoints(client: Http, make_key: MakeKey, app: FastAPI, model: ModelRow) -> None:
    url, body = "/v1/models/sizes/predictions", {"inputs": [ROW]}
    assert client.post(url, json=body).status_code == 200
    check_problem(Http(app, None).post(url, json=body), 401, "unauthorized")
    check_problem(Http(app, make_key(scopes=("read",))).post(url, json=body), 403)
    check_problem(client.post("/v1/models/size/predictions", json=body), 404, "model_not_found")
    check_problem(client.post(url, json={"inputs": []}), 422)
    check_problem(client.post(url, json={"inputs": [{**ROW, "width": 1e39}]}), 422, "invalid_input")
    check_problem(client.post(url, content=b'{"inputs": [', headers={"content-type": "application/json"}), 422)
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    check_problem(client.post(url, content=json.dumps(body).encode(), headers=packed), 415)


def test_of_two_keys_the_first_counts(app: FastAPI, key: str, model: ModelRow) -> None:
    async def ask(*keys: str) -> int:
        headers = [("authorization", f"Bearer {each}") for each in keys]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as asking:
            answer = await asking.post("/v1/models/sizes/predictions", json={"inputs": [ROW]}, headers=headers)
            return answer.status_code

    assert [asyncio.run(ask(*keys)) for keys in ([key], [key, "x" * 40], ["x" * 40, key])] == [200, 200, 401]


def test_more_rows_than_a_network_takes_at_once_are_the_endpoints(
    client: Http, model: ModelRow, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "app.middleware"):
        answer = client.post("/v1/models/sizes/predictions", json={"inputs": [[1, 2, 3]] * 1025})
    assert len(answer.json()["predictions"]) == 1025
    assert "predictions" in caplog.text


class Reader:
    """Decodes rows to the thread that does it; has a fast way with arrays of zeros."""

    def decode(self, inputs: Any, doubts: Any) -> Any:
        return np.array([threading.get_ident()])

    def decode_sound(self, inputs: Any) -> Any:
        return None if inputs.any() else self.decode(inputs, None)


@pytest.mark.parametrize(
    ("inputs", "size", "here"),
    [
        ([["a"]], 1 << 12, True),
        ([["a"]], (1 << 12) + 1, False),
        (np.zeros((1, 1)), 1 << 20, True),
        (np.ones((1, 1)), 1 << 20, False),
        (np.ones((1, 1)), 1 << 12, True),
    ],
)
def test_what_may_take_long_to_read_is_read_in_a_thread(app: FastAPI, inputs: Any, size: int, here: bool) -> None:
    wire: Any = PredictionWire(app.state, app.state.authenticator)
    (thread,) = asyncio.run(wire._decoded(Reader(), inputs, None, size))
    assert (thread == threading.get_ident()) == here


def test_a_backbone_answers_embeddings_alone(client: Http, services: Services, project_id: str) -> None:
    add_model(services, project_id, "backbone", heads=False)
    assert client.post("/v1/models/backbone/embeddings", json={"inputs": [ROW]}).status_code == 200
    check_problem(client.post("/v1/models/backbone/predictions", json={"inputs": [ROW]}), 409, "model_has_no_heads")


def test_short_answers_are_counted(client: Http, services: Services, model: ModelRow) -> None:
    url = "/v1/models/sizes/predictions"
    for _ in range(3):
        client.post(url, json={"inputs": [{**ROW, "else": 1}]})
    families = {family.name: family for family in text_string_to_metric_families(services.metrics.text().decode())}
    counted = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["graftwork_request_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counted == {("/v1/models/{ref}/predictions", "200"): 3}
    assert [sample.value for sample in families["graftwork_warnings"].samples] == [3]


def test_too_many_requests_are_refused_on_the_short_way_too(app: FastAPI, client: Http, model: ModelRow) -> None:
    url, body = "/v1/models/sizes/predictions", {"inputs": [ROW]}
    assert client.post(url, json=body).status_code == 200
    services: Services = app.state.services
    others = [services.shares.arrive() for _ in range(services.settings.max_requests)]
    check_problem(client.post(url, json=body), 429, "too_many_requests")
    for slot in others:
        assert slot is not None
        slot.enter(Principal(key_id="key_a", project_id="prj_a", scopes=frozenset({"predict"})))
    assert client.post(url, json=body).status_code == 200  # slots are reserved for each project
    for slot in others:
        assert slot is not None
        slot.leave()
    check_problem(client.post(url, json=body, headers={"host": "elsewhere"}), 400, "unknown_host")
    assert client.post(url, json=body).status_code == 200
