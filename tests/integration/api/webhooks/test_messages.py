"""What webhooks are sent: signed messages about real events, at a real receiver; on both databases."""

import json
import time

from fastapi import FastAPI
from sqlalchemy import select

from app.db.tables import WebhookDeliveryRow
from app.dependencies import Services
from app.settings import Settings
from app.webhooks import outbox
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.receiver import Receiver
from tests.support.servers import wait_until
from tests.support.webhooks import (
    CSV,
    deliveries,
    delivering,
    make,
    not_yet,
    prepare,
    tell,
    verified,
    wait_for,
)
from tests.support.work import run_jobs


def test_a_jobs_end_arrives_signed(client: Http, services: Services, settings: Settings, receiver: Receiver) -> None:
    webhook = make(client, receiver.url, ("job.*", "dataset.ready"))
    dataset = prepare(client, settings)
    with delivering(services):
        messages = receiver.wait(2)
    payloads = {payload["type"]: payload for payload in (verified(m, webhook["secret"]) for m in messages)}
    assert set(payloads) == {"job.succeeded", "dataset.ready"}
    job = payloads["job.succeeded"]["data"]
    assert (job["id"], job["kind"], job["status"]) == (dataset["job"], "preparation", "succeeded")
    assert client.get(job["links"]["self"]).json()["status"] == "succeeded"
    ready = payloads["dataset.ready"]["data"]
    assert (ready["id"], ready["name"], ready["status"]) == (dataset["id"], "rows", "ready")
    assert client.get(ready["links"]["report"]).status_code == 200
    assert payloads["dataset.ready"]["timestamp"].endswith("Z")
    for message in messages:
        assert message.path == "/hook?of=tests"
        assert message.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert message.headers["content-type"] == "application/json"
        assert abs(int(message.headers["webhook-timestamp"]) - time.time()) < 60
    assert {entry["id"] for entry in wait_for(client, webhook["id"], "delivered", 2)} == {m.id for m in messages}


def test_failures_warnings_and_cancelled_jobs_are_told_without_a_row(
    client: Http, services: Services, settings: Settings, receiver: Receiver
) -> None:
    make(client, receiver.url, ("dataset.failed", "job.failed", "job.cancelled", "warning.few_rows"))
    prepare(client, settings, b"word,label\n" + b"zebra,1\n" * 3, name="copies")
    prepare(client, settings, b"a,b\n1,2\n5,6\n7,8\n9,10\n", name="few")
    waiting = client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "none"}).json()
    client.post(f"/v1/jobs/{waiting['job']}/cancel")
    failed = prepare(client, settings, b'{"a": 1}\n{"a": zebra}\n', name="wrong")
    expected = {("job.failed", failed["job"]), ("dataset.failed", failed["id"])}
    expected |= {("job.cancelled", waiting["job"]), ("dataset.failed", waiting["id"])}

    def arrived() -> set[tuple[str, str | None]]:
        payloads = [json.loads(message.body) for message in receiver.messages]
        return {(payload["type"], payload["data"].get("id")) for payload in payloads}

    with delivering(services):
        wait_until(lambda: expected <= arrived() and not_yet(receiver, {"warning.few_rows"}) == set(), "all have come")
    payloads = [json.loads(message.body) for message in receiver.messages]
    assert all("zebra" not in message.body.decode() for message in receiver.messages)
    errors = [payload["data"]["error"] for payload in payloads if payload["type"] in ("job.failed", "dataset.failed")]
    assert {frozenset(error) for error in errors} == {frozenset({"code", "category"}), frozenset({"code"})}
    assert len([payload for payload in payloads if payload["type"] == "dataset.failed"]) == len(
        {payload["data"]["id"] for payload in payloads if payload["type"] == "dataset.failed"}
    )
    warnings = [payload["data"] for payload in payloads if payload["type"] == "warning.few_rows"]
    assert warnings
    assert set(warnings[0]) == {"object", "code", "warnings", "job", "kind", "dataset", "links"}
    assert client.get(warnings[0]["links"]["job"]).status_code == 200


def test_a_job_does_not_repeat_the_warnings_of_its_dataset(
    client: Http, settings: Settings, receiver: Receiver
) -> None:
    webhook = make(client, receiver.url, ("warning.*",))
    dataset = prepare(client, settings, b"a,b\n1,2\n5,6\n7,8\n9,10\n")
    body = {"kind": "pretraining", "dataset": dataset["id"], "training": {"steps": 1}}
    job = client.post("/v1/jobs", json={**body, "backbone": {"kind": "mlp", "hidden": [4]}}).json()
    assert "few_rows" in {warning["code"] for warning in job["warnings"]}
    run_jobs(settings)
    sent = [(entry["type"], entry["payload"]["data"]["job"]) for entry in deliveries(client, webhook["id"])]
    assert [job for kind, job in sent if kind == "warning.few_rows"] == [dataset["job"]]


def test_every_change_of_an_alias_is_told(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    make(client, receiver.url, ("alias.moved",))
    models = [add_model(services, project_id, "sizes") for _ in range(2)]
    for model in (models[0], models[1], models[1]):  # the last one changes nothing
        assert client.put("/v1/models/sizes/aliases/best", json={"model": model.id}).status_code == 200
    assert client.post("/v1/models/sizes/aliases/best/rollback").status_code == 200
    assert client.delete("/v1/models/sizes/aliases/best").status_code == 204
    with delivering(services):
        messages = receiver.wait(4)
    data = sorted((json.loads(message.body)["data"] for message in messages), key=lambda entry: entry["revision"])
    assert [(entry["action"], entry["version"]) for entry in data] == [
        ("set", 1),
        ("set", 2),
        ("rolled_back", 1),
        ("deleted", None),
    ]
    assert data[1]["model"] == models[1].id
    assert data[0]["links"]["self"] == "/v1/models/sizes/aliases/best"


def test_what_does_not_happen_is_not_told(client: Http, services: Services, project_id: str) -> None:
    """The message is part of the event's transaction."""
    webhook = make(client, "http://127.0.0.1:9/")
    with services.database.writing() as session:
        outbox.alias_moved(session, project_id, name="a", alias="b", revision=1, action="deleted", model_id=None)
        session.rollback()
    assert deliveries(client, webhook["id"]) == []


def test_a_project_hears_of_its_own_events_alone(
    app: FastAPI, client: Http, services: Services, make_key: MakeKey, project_id: str, receiver: Receiver
) -> None:
    stranger = make(Http(app, make_key(project="another")), receiver.url)
    own = make(client, receiver.url)
    tell(services, project_id)
    assert len(deliveries(client, own["id"])) == 1
    with services.database.reading() as session:
        rows = session.scalars(select(WebhookDeliveryRow.webhook_id))
        assert stranger["id"] not in set(rows)


def test_a_sweeps_trials_are_not_told(client: Http, services: Services, settings: Settings, receiver: Receiver) -> None:
    dataset = prepare(client, settings)
    webhook = make(client, receiver.url, ("job.*", "warning.*"))
    base = {
        "kind": "pretraining",
        "dataset": dataset["id"],
        "training": {"steps": 1},
        "backbone": {"kind": "mlp", "hidden": [4]},
    }
    body = {
        "kind": "sweep",
        "base": base,
        "space": {"training.steps": {"kind": "choice", "values": [1, 2]}},
        "trials": 2,
    }
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    sent, job = [entry["payload"] for entry in deliveries(client, webhook["id"])], answer.json()["id"]
    assert [payload["data"]["id"] for payload in sent if payload["type"].startswith("job.")] == [job]
    assert {payload["data"]["job"] for payload in sent if payload["type"].startswith("warning.")} <= {job}
