"""Numbers, keys, names and bodies at the edge of what is taken."""

import json
from typing import Any

import pytest
from fastapi import FastAPI

from app.db.session import Database
from app.errors import shape_of
from app.keys.service import SCOPES, create_key
from tests.support.http import Http

pytestmark = pytest.mark.one_database

HUGE = 99999999999999999999
JOB = "job_" + "0" * 32


@pytest.mark.parametrize("path", [f"/v1/jobs/{JOB}/events?after={HUGE}", f"/v1/jobs/{JOB}/metrics?after={HUGE}"])
def test_a_number_beyond_the_database_is_refused(client: Http, path: str) -> None:
    assert client.get(path).status_code == 422


def test_a_stream_cannot_be_asked_to_go_on_behind_such_a_number(client: Http) -> None:
    headers = {"Accept": "Text/Event-Stream", "Last-Event-ID": str(HUGE)}
    assert client.get(f"/v1/jobs/{JOB}/events", headers=headers).status_code == 422


@pytest.mark.parametrize(
    "key", ["schlüssel-für-die-prüfung-0123456789", "  padded-key-0123456789-0123456789-ab  ", "à" * 32]
)
def test_any_long_string_may_be_a_key(app: FastAPI, database: Database, key: str) -> None:
    with database.writing() as session:
        create_key(session, "default", "test", list(SCOPES), key)
    stranger = Http(app)
    header = (b"Bearer " + key.strip().encode()).decode("latin-1")
    assert stranger.get("/v1/jobs", headers={"Authorization": header.encode("latin-1")}).status_code == 200


@pytest.mark.parametrize("after", ["zzzz", "", "job_x", "../x"])
def test_a_cursor_that_is_no_id_is_refused(client: Http, after: str) -> None:
    assert client.get(f"/v1/jobs?after={after}").status_code == 422


def test_a_model_may_not_be_named_like_an_id(client: Http) -> None:
    body = {"kind": "pretraining", "dataset": "ds_x", "name": "mdl_" + "0" * 32}
    answer = client.post("/v1/jobs", json=body)
    assert answer.json()["errors"][0]["loc"] == ["body", "name"]


def test_only_rows_to_predict_may_be_large(client: Http) -> None:
    body: dict[str, Any] = {"kind": "pretraining", "dataset": "x", **{str(number): 1 for number in range(200_000)}}
    answer = client.post("/v1/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    rows = client.post("/v1/models/nothing/predictions", json={"inputs": [[0] * 200] * 4000})
    assert rows.status_code == 404


def test_what_does_not_exist_is_not_echoed(client: Http) -> None:
    for path in ("/v1/jobs/<script>", "/v1/datasets/<script>", "/v1/models/<script>"):
        assert "script" not in client.get(path).text


def test_every_error_in_the_document_is_a_problem_or_of_its_protocol(app: FastAPI) -> None:
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            assert "default" in responses, (method, path)
            for status, response in responses.items():
                if status == "default" or int(status) >= 400:
                    expected = "application/problem+json" if shape_of(app, path) is None else "application/json"
                    assert set(response["content"]) == {expected}, (method, path, status)
