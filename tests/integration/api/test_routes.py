"""What holds for every route there is, and for those that will come."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import select

from app.db.tables import AliasRow, DatasetRow, JobRow, ModelRow, WebhookDeliveryRow, WebhookRow
from app.dependencies import Services
from app.settings import Settings
from app.webhooks import repository as webhooks
from app.webhooks.signing import new_secret
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import OTHER_PROTOCOLS, check_problem, check_refusal
from tests.support.work import run_jobs

OPEN = re.compile(r"(/v2)?/health/\w+|/|/docs|/page/.*|/guide(/.*)?|/openapi\.json")
SHARED = ("/v1/admin/", "/v1/catalogue/")  # an administrator's (tests/integration/api/test_admin), and everybody's
CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20))


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every (method, path) that the application answers."""
    for context in iter_route_contexts(app.routes):
        path = context.path
        for method in sorted(context.methods or ()):
            yield method, path


def closed(app: FastAPI) -> list[tuple[str, str]]:
    return [(method, path) for method, path in routes(app) if not OPEN.fullmatch(path)]


def test_the_routes_are_found(app: FastAPI) -> None:
    """So that the tests below are about something."""
    found = closed(app)
    assert ("POST", "/v1/datasets") in found
    assert ("DELETE", "/v1/models/{ref}") in found
    assert ("GET", "/v1/jobs/{job_id}/events") in found
    assert len(found) >= 24
    assert {path for _, path in routes(app)} - {path for _, path in found} >= {"/health/live", "/openapi.json"}


def ask(app: FastAPI, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bool]:
    """Return status and headers of an answer, and whether any of the request's body was read for it."""
    read, sent = False, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read = True
        return {"type": "http.request", "body": b"{", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in {"host": "127.0.0.1", **headers}.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": raw, "http_version": "1.1", "scheme": "http", "root_path": "", "client": None}
    scope |= {"server": ("127.0.0.1", 80), "asgi": {"version": "3.0"}}
    asyncio.run(app(scope, receive, send))
    start = sent[0]
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, read


def test_nothing_is_answered_or_read_without_a_valid_key(app: FastAPI) -> None:
    headers = {"content-type": "application/json", "content-length": "1"}
    for method, path in closed(app):
        concrete = re.sub(r"\{\w+\}", "x", path)
        for key in ({}, {"authorization": "Bearer " + "w" * 43}, {"authorization": "Basic Zm9vOmJhcg=="}):
            status, answer, read = ask(app, method, concrete, {**headers, **key})
            assert (status, read) == (401, False), (method, path)
            assert answer["www-authenticate"] == "Bearer"
            expected = "application/json" if path.startswith(OTHER_PROTOCOLS) else "application/problem+json"
            assert answer["content-type"] == expected


def test_every_closed_route_is_of_the_secure_kind(app: FastAPI) -> None:
    for context in iter_route_contexts(app.routes):
        if not OPEN.fullmatch(context.path):
            assert isinstance(context.original_route, APIRoute)
            assert type(context.original_route).__name__ == "SecureRoute"


def test_a_key_with_no_scope_may_do_nothing(app: FastAPI, make_key: MakeKey, key: str) -> None:
    powerless = Http(app, make_key(scopes=()))
    for method, path in closed(app):
        answer = powerless.request(method, re.sub(r"\{\w+\}", "x", path), **body_for(path, method))
        check_refusal(answer, 403, "missing_scope")
    assert key


BODIES: dict[str, dict[str, Any]] = {
    "/v1/keys": {"json": {"name": "mine"}},
    "/rotate": {"json": {}},
    "/v1/webhooks": {"json": {"url": "https://192.0.2.1/", "events": ["*"]}},
    "/setup": {"json": {"project": "1.2"}},
    "/predict": {"json": {"tasks": [{"data": {}}], "label_config": "<View/>"}},
    "/webhook": {"json": {"action": "START_TRAINING", "project": {"id": 1}}},
    "/mlflow": {"json": {}},
    "/v1/uploads": {"json": {"filename": "a.csv"}},
    "/extend": {"json": {"epochs": 1}},
    "/v1/datasets": {"files": {"file": ("a.csv", CSV)}, "data": {"name": "mine"}},
    "/v1/jobs": {"json": {"kind": "pretraining", "dataset": "ds_x"}},
    "previews": {"json": {"augmentations": [{"kind": "noise"}]}},
    "versions": {"json": {}},
    "infer": {"json": {"inputs": [{"name": "inputs", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}},
    "/openai/v1/embeddings": {"json": {"model": "sizes", "input": "once"}},
    "completions": {"json": {"model": "sizes", "prompt": "once"}},
    "predictions": {"json": {"inputs": [[1, 2, 3]]}},
    "embeddings": {"json": {"inputs": [[1, 2, 3]]}},
    "generations": {"json": {"inputs": ["once"]}},
}


def body_for(path: str, method: str) -> dict[str, Any]:
    """A body that the route accepts, so that it gets as far as looking for its thing."""
    if path.endswith("/parts/{number}"):
        return {"content": b"x"}
    if method == "PUT":
        return {"json": {"model": "sizes"}}
    if method == "PATCH":
        return {"json": {}}
    return next((body for end, body in BODIES.items() if method == "POST" and path.endswith(end)), {})


@pytest.fixture
def things(client: Http, services: Services, settings: Settings, project_id: str) -> dict[str, str]:
    """One of each, of the first project: what stands in for a path's parameters."""
    url, secret = "https://192.0.2.1/", new_secret()
    with services.database.writing() as session:
        webhook = webhooks.add(session, project_id, name=None, url=url, events=["*"], secret=secret).id
    model = add_model(services, project_id, "sizes")
    client.put("/v1/models/sizes/aliases/best", json={"model": model.id})
    dataset = client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "mine"}).json()
    run_jobs(settings)
    with services.database.writing() as session:
        session.get_one(JobRow, dataset["job"]).files = {"manifest.json": model.files["manifest.json"]}
    key = client.get("/v1/keys").json()["data"][0]["id"]
    delivery = client.get(f"/v1/webhooks/{webhook}/deliveries").json()["data"][0]["id"]
    job = {"job_id": dataset["job"], "kind": "learning", "job_kind": "export"}
    sent = {"webhook_id": webhook, "delivery_id": delivery}
    upload = {"upload_id": client.post("/v1/uploads", json={"filename": "a.csv"}).json()["id"], "number": "1"}
    return {"dataset_id": dataset["id"], **job, "ref": model.id, "version": "1", "key_id": key, **sent, **upload}


def snapshot(services: Services) -> list[dict[str, Any]]:
    with services.database.reading() as session:
        tables = (DatasetRow, JobRow, ModelRow, AliasRow, WebhookRow, WebhookDeliveryRow)
        rows = [row for table in tables for row in session.scalars(select(table))]
        return [{column.key: getattr(row, column.key) for column in row.__table__.columns} for row in rows]


def test_another_project_sees_and_changes_nothing(
    app: FastAPI, client: Http, services: Services, make_key: MakeKey, things: dict[str, str]
) -> None:
    stranger = Http(app, make_key(project="another"))
    before = snapshot(services)
    parameters = {**things, "name": "sizes", "alias": "best"}
    tried = 0
    for ref in (things["ref"], "sizes", "sizes@1", "sizes@best"):
        for method, path in closed(app):
            if "{" not in path or path.startswith(SHARED):
                continue
            here = {**parameters, "ref": ref}
            here |= {"name": "manifest.json"} if "files" in path else {}
            answer = stranger.request(method, path.format(**here), **body_for(path, method))
            check_refusal(answer, 404)
            tried += 1
    assert tried >= 60
    for path in ("/v1/datasets", "/v1/jobs", "/v1/models", "/v1/webhooks"):
        assert stranger.get(path).json()["data"] == []
        assert len(client.get(path).json()["data"]) == 1
        after = client.get(path).json()["data"][0]["id"]
        assert stranger.get(path, params={"after": after, "order": "asc"}).json()["data"] == []
    assert snapshot(services) == before


def test_the_owner_does_see_them(app: FastAPI, client: Http, things: dict[str, str]) -> None:
    """So that the 404s above come from the other project and not from a wrong path."""
    parameters = {**things, "alias": "best"}
    for method, path in closed(app):
        if method == "GET":
            name = "manifest.json" if "files" in path else "sizes"
            assert client.get(path.format(**parameters, name=name)).status_code == 200, path


def test_a_query_parameter_that_a_route_does_not_have_is_refused_everywhere(
    app: FastAPI, client: Http, things: dict[str, str]
) -> None:
    folders = dict.fromkeys(("folder", "inner", "innermost"), "views")
    parameters = {**things, **folders, "name": "sizes", "alias": "best"}
    tried = set()
    for method, path in routes(app):
        if method == "HEAD":  # the answer of its GET, without the body
            continue
        answer = client.request(method, path.format(**parameters), params={"stat us": "x"}, **body_for(path, method))
        check_refusal(answer, 422, "unknown_parameter")
        assert "query.stat us: this request has no such query parameter" in answer.text, path
        tried.add(path)
    assert tried >= {"/metrics", "/health/live", "/health/ready", "/docs", "/openapi.json", "/v1/jobs"}
    assert all(client.get(path).status_code == 200 for path in ("/metrics", "/health/live", "/docs", "/openapi.json"))
    assert client.get("/v1/jobs").json()["data"][0]["id"] == things["job_id"]


def test_the_nearest_query_parameter_is_named(client: Http) -> None:
    problem = check_problem(client.get("/v1/jobs?statsu=failed&limti=1&limit=2"), 422, "unknown_parameter")
    assert [(error["loc"], "did you mean" in error["msg"]) for error in problem["errors"]] == [
        (["query", "statsu"], True),
        (["query", "limti"], True),
    ]
    assert "did you mean 'status'? it has after, " in problem["detail"]
    (nowhere,) = check_problem(client.get("/v1/catalogue?x=1"), 422, "unknown_parameter")["errors"]
    assert nowhere["msg"] == "this request has no such query parameter: it has none"


def test_a_strangers_things_cannot_be_named_in_a_body(app: FastAPI, make_key: MakeKey, things: dict[str, str]) -> None:
    stranger = Http(app, make_key(project="another"))
    job = {"kind": "pretraining", "dataset": things["dataset_id"]}
    check_problem(stranger.post("/v1/jobs", json=job), 404)
    check_problem(stranger.put("/v1/models/sizes/aliases/x", json={"model": things["ref"]}), 404)


def test_one_key_of_idempotency_in_two_projects_is_two(app: FastAPI, client: Http, make_key: MakeKey) -> None:
    stranger = Http(app, make_key(project="another"))
    ids = []
    for one in (client, stranger):
        form = {"files": {"file": ("a.csv", CSV)}, "data": {"name": "mine"}}
        ids.append(one.post("/v1/datasets", headers={"Idempotency-Key": "k"}, **form).json()["id"])
    assert ids[0] != ids[1]


def test_the_frameworks_own_errors_are_problems(client: Http) -> None:
    check_problem(client.get("/v1/nothing"), 404, "not_found")
    check_problem(client.get("/nothing"), 404, "not_found")
    answer = client.request("PATCH", "/v1/models/x")
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, DELETE, OPTIONS"
    for method in ("TRACE", "INVENTED"):
        assert client.request(method, "/v1/models").status_code == 405
    check_problem(client.post("/v1/datasets", content=b"{}"), 415)
    plain = client.post("/v1/jobs", content=b"{}", headers={"content-type": "text/plain"})
    check_problem(plain, 422)
    check_problem(client.get("/v1/models", headers={"host": "evil.example"}), 400, "unknown_host")


def test_openapi_describes_every_route_and_its_errors(app: FastAPI, client: Http) -> None:
    document = client.get("/openapi.json").json()
    for method, path in closed(app):
        operation = document["paths"][path][method.lower()]
        assert operation["security"]
        is_foreign = path.startswith(OTHER_PROTOCOLS)
        assert {"401", "403", "400" if is_foreign else "422"} <= set(operation["responses"])
        media = "application/json" if is_foreign else "application/problem+json"
        assert set(operation["responses"]["403"]["content"]) == {media}
        if "{" in path:
            assert "404" in operation["responses"], path
    form = document["paths"]["/v1/datasets"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "name", "columns", "splits"} <= set(form["properties"])
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', client.get("/openapi.json").text))
    assert references <= set(document["components"]["schemas"])
