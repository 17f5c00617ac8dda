"""Webhooks as resources: secrets, tests, changes, refusals, retention; on both databases."""

import json
import logging
import time

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from app.db.tables import WebhookDeliveryRow, WebhookRow
from app.dependencies import Services
from app.storage.garbage_collection import carry_out
from app.webhooks import outbox, repository
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.receiver import Receiver
from tests.support.servers import wait_until
from tests.support.webhooks import (
    DAY,
    Json,
    change,
    deliveries,
    delivering,
    make,
    signature,
    tell,
    verified,
    wait_for,
)


def test_secrets_rotate_while_the_old_one_signs_for_a_while(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    old = make(client, receiver.url)
    path = f"/v1/webhooks/{old['id']}"
    answer = client.post(f"{path}/secret")
    assert answer.status_code == 201
    new = answer.json()
    assert new["secret"] != old["secret"]
    until = json.loads(answer.text)["old_secrets_until"]
    assert until is not None
    assert client.post(f"{path}/test").json()["delivered"]
    for secret in (old["secret"], new["secret"]):
        verified(receiver.messages[-1], secret)
    newest = client.post(f"{path}/secret", json={"overlap": 0}).json()
    assert newest["old_secrets_until"] is None
    assert client.post(f"{path}/test").json()["delivered"]
    verified(receiver.messages[-1], newest["secret"])
    assert len(receiver.messages[-1].headers["webhook-signature"].split(" ")) == 1
    brief = client.post(f"{path}/secret", json={"overlap": 0.2}).json()
    time.sleep(0.3)
    tell(services, project_id)
    with delivering(services):
        receiver.wait(3)
    assert receiver.messages[-1].headers["webhook-signature"] == signature(receiver.messages[-1], brief["secret"])
    for _ in range(5):
        assert client.post(f"{path}/secret").status_code == 201
    check_problem(client.post(f"{path}/secret"), 409, "too_many_secrets")
    assert client.post(f"{path}/secret", json={"overlap": 0}).status_code == 201


def test_a_repeated_request_makes_one_webhook_and_rotates_once(client: Http, receiver: Receiver) -> None:
    body = {"url": receiver.url, "events": ["job.*", "job.*"]}
    made = [client.post("/v1/webhooks", json=body, headers={"Idempotency-Key": "k"}).json() for _ in range(2)]
    assert made[0] == made[1]
    assert made[0]["events"] == ["job.*"]
    assert len(client.get("/v1/webhooks").json()["data"]) == 1
    path = f"/v1/webhooks/{made[0]['id']}/secret"
    rotated = [client.post(path, headers={"Idempotency-Key": "r"}).json()["secret"] for _ in range(2)]
    assert rotated[0] == rotated[1] != made[0]["secret"]
    other = client.post("/v1/webhooks", json={**body, "name": "x"}, headers={"Idempotency-Key": "k"})
    check_problem(other, 422, "idempotency_mismatch")


def test_a_test_tells_what_the_receiver_said(client: Http, receiver: Receiver) -> None:
    webhook = make(client, receiver.url, ("job.failed",), name="mine")
    path = f"/v1/webhooks/{webhook['id']}/test"
    answer = client.post(path).json()
    assert (answer["delivered"], answer["status"], answer["error"]) == (True, 204, None)
    payload = verified(receiver.messages[0], webhook["secret"])
    assert (payload["type"], payload["data"]["name"]) == ("webhook.test", "mine")
    assert receiver.messages[0].id == answer["id"]
    receiver.answer = lambda _: 418
    answer = client.post(path).json()
    assert (answer["delivered"], answer["status"], answer["error"]) == (False, 418, "It answered 418.")
    assert deliveries(client, webhook["id"]) == []


def test_a_webhook_whose_deliveries_die_for_days_is_disabled(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    webhook = make(client, receiver.url)
    tell(services, project_id)
    receiver.answer = lambda _: 500
    with delivering(services, webhook_backoff_seconds=[0.01]):
        wait_for(client, webhook["id"], "dead")
        assert client.get(f"/v1/webhooks/{webhook['id']}").json()["enabled"] is True
        with services.database.writing() as session:
            session.execute(update(WebhookRow).values(failing_since=WebhookRow.failing_since - 6 * DAY))
        tell(services, project_id)
        wait_until(lambda: not client.get(f"/v1/webhooks/{webhook['id']}").json()["enabled"], "it is disabled")
    shown = client.get(f"/v1/webhooks/{webhook['id']}").json()
    assert "failed for 6.0 days. The last one: It answered 500." in shown["disabled_reason"]
    assert shown["disabled_at"] is not None
    tell(services, project_id)
    dead = deliveries(client, webhook["id"], status="dead")
    assert len(deliveries(client, webhook["id"])) == len(dead) == 2, "nothing is kept for a disabled one"
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{dead[0]['id']}/redeliver"
    check_problem(client.post(path), 409, "webhook_disabled")
    enabled = change(client, webhook["id"], enabled=True)
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["failing_since"]) == (True, None, None)
    assert client.post(path).status_code == 202


def test_a_receiver_that_is_gone_disables_its_webhook(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    webhook = make(client, receiver.url)
    tell(services, project_id, 5)
    receiver.answer = lambda _: 410
    with delivering(services):
        wait_for(client, webhook["id"], "dead", 5)
    assert len(receiver.messages) <= 2
    assert "410" in client.get(f"/v1/webhooks/{webhook['id']}").json()["disabled_reason"]


def test_a_webhook_is_changed_disabled_and_deleted(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    webhook = make(client, receiver.url, name="mine")
    changed = change(client, webhook["id"], events=["alias.moved"], name=None)
    expected = {name: value for name, value in webhook.items() if name != "secret"}
    assert changed == expected | {"events": ["alias.moved"], "name": None}
    tell(services, project_id)
    with services.database.writing() as session:
        session.execute(update(WebhookRow).values(failing_since=1.0))
    assert change(client, webhook["id"], name="a")["failing_since"] is not None
    assert change(client, webhook["id"], name=None, url=receiver.url)["failing_since"] is None
    off = change(client, webhook["id"], enabled=False)
    assert (off["enabled"], off["disabled_reason"]) == (False, "Disabled by a request.")
    assert [entry["status"] for entry in deliveries(client, webhook["id"])] == ["dead"]
    assert change(client, webhook["id"], enabled=False) == off
    change(client, webhook["id"], enabled=True)
    tell(services, project_id)
    assert client.delete(f"/v1/webhooks/{webhook['id']}").status_code == 204
    check_problem(client.get(f"/v1/webhooks/{webhook['id']}"), 404, "webhook_not_found")
    tell(services, project_id)
    with services.database.reading() as session:
        assert session.scalars(select(WebhookDeliveryRow)).all() == []
    assert receiver.messages == []


def test_a_job_ends_while_its_webhook_is_deleted(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    """What was inserted for it meanwhile is no reason to fail, and goes with the garbage."""
    with services.database.writing() as session:
        repository.queue(session, ["wh_gone"], "job.failed", outbox.message("job.failed", 0.0, {}), 0.0)
    with delivering(services):
        time.sleep(0.3)
    carry_out([], services.database, services.artifacts, services.settings)
    with services.database.reading() as session:
        assert session.scalars(select(WebhookDeliveryRow)).all() == []


def test_old_deliveries_go_with_the_garbage(client: Http, services: Services, project_id: str) -> None:
    webhook = make(client, "http://127.0.0.1:9/")
    tell(services, project_id, 3)
    pending, old, young = deliveries(client, webhook["id"])
    with services.database.writing() as session:
        for entry, days in ((old, 31), (young, 29)):
            now = repository.now(session)
            own = update(WebhookDeliveryRow).where(WebhookDeliveryRow.id == entry["id"])
            session.execute(own.values(status="dead", ended_at=now - days * DAY))
    carry_out([], services.database, services.artifacts, services.settings)
    assert [entry["id"] for entry in deliveries(client, webhook["id"])] == [pending["id"], young["id"]]


def test_no_secret_is_listed_logged_or_in_an_error(
    client: Http, services: Services, project_id: str, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook = make(client, f"{receiver.url}&token=t0ken")
    secrets = [webhook["secret"], client.post(f"/v1/webhooks/{webhook['id']}/secret").json()["secret"]]
    receiver.answer = lambda _: 500
    tell(services, project_id)
    path = f"/v1/webhooks/{webhook['id']}"
    with delivering(services, webhook_backoff_seconds=[]):
        (dead,) = wait_for(client, webhook["id"], "dead")
    answers = [
        client.get("/v1/webhooks"),
        client.get(path),
        client.get(f"{path}/deliveries"),
        client.post(f"{path}/test"),
    ]
    answers.append(client.post(f"{path}/deliveries/{dead['id']}/redeliver"))
    answers.append(client.request("PATCH", path, json={"name": "x"}))
    answers.append(client.post("/v1/webhooks", json={"url": "https://user:pa55word@x.example/", "events": ["*"]}))
    texts = [caplog.text, *(answer.text for answer in answers), *(m.body.decode() for m in receiver.messages)]
    for secret in (*secrets, *(secret.removeprefix("whsec_") for secret in secrets), "pa55word"):
        assert not [text for text in texts if secret in text]
    assert "t0ken" not in caplog.text
    assert "is dead" in caplog.text


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ({"events": ["*"]}, "url", "required"),
        ({"url": "https://x.example/"}, "events", "required"),
        ({"url": "https://x.example/", "events": []}, "events", "at least 1"),
        ({"url": "https://x.example/", "events": ["job.succeded"]}, "events", "did you mean job.succeeded?"),
        ({"url": "https://x.example/", "events": ["jobs.*"]}, "events", "job.cancelled"),
        ({"url": "https://x.example/", "events": ["warning.fewrows"]}, "events", "warning.few_rows"),
        ({"url": "https://x.example/", "events": "*"}, "events", "[brackets]"),
        ({"url": "http://10.0.0.1/", "events": ["*"]}, "url", "GRAFTWORK_WEBHOOK_NETWORKS"),
        ({"url": "https://169.254.169.254/", "events": ["*"]}, "url", "no public address"),
        ({"url": "http://127.0.0.1:8000/v1/jobs", "events": ["*"]}, "url", "this service itself"),
        ({"url": "https://a:b@x.example/", "events": ["*"]}, "url", "user name"),
        ({"url": "ftp://x.example/", "events": ["*"]}, "url", "https://"),
        ({"url": f"https://x.example/{'x' * 2000}", "events": ["*"]}, "url", "2000"),
        ({"url": "https://x.example/", "events": ["*"], "name": ""}, "name", "at least 1"),
        ({"url": "https://x.example/", "events": ["*"], "secret": "mine"}, "secret", "no such field"),
    ],
)
def test_a_wrong_request_is_told_where_and_what_to_do(client: Http, body: Json, place: str, words: str) -> None:
    problem = check_problem(client.post("/v1/webhooks", json=body), 422)
    (error,) = problem["errors"]  # type: ignore[misc] # a list
    assert error["loc"][1] == place
    assert words in error["msg"], error["msg"]
    assert client.get("/v1/webhooks").json()["data"] == []


def test_a_wrong_change_changes_nothing(client: Http, receiver: Receiver) -> None:
    webhook = make(client, receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"
    for body in ({"url": None}, {"events": None}, {"enabled": None}, {"url": "https://10.0.0.1/"}, {"secret": "x"}):
        check_problem(client.request("PATCH", path, json=body), 422)
    assert client.get(path).json() == {name: value for name, value in webhook.items() if name != "secret"}
    check_problem(client.post(f"{path}/secret", json={"overlap": 31 * DAY}), 422)
    check_problem(client.get(f"{path}/deliveries?status=lost"), 422)


def test_a_project_has_so_many_webhooks(client: Http, services: Services, project_id: str) -> None:
    with services.database.writing() as session:
        for _ in range(50):
            repository.add(session, project_id, name=None, url="https://x.example/", events=["*"], secret="x")  # noqa: S106
    body = {"url": "https://x.example/", "events": ["*"]}
    check_problem(client.post("/v1/webhooks", json=body), 409, "too_many_webhooks")


def test_reading_and_writing_are_scopes(app: FastAPI, client: Http, make_key: MakeKey, receiver: Receiver) -> None:
    webhook = make(client, receiver.url)
    reader = Http(app, make_key(scopes=("read", "predict")))
    path = f"/v1/webhooks/{webhook['id']}"
    for answer in (
        reader.post("/v1/webhooks", json={"url": receiver.url, "events": ["*"]}),
        reader.request("PATCH", path, json={}),
        reader.delete(path),
        reader.post(f"{path}/secret"),
        reader.post(f"{path}/test"),
        reader.post(f"{path}/deliveries/msg_x/redeliver"),
    ):
        check_problem(answer, 403, "missing_scope")
    for each in ("/v1/webhooks", path, f"{path}/deliveries"):
        assert reader.get(each).status_code == 200
