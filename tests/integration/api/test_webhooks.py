"""Webhooks: messages about real events arrive, signed, at a real receiver; on both databases."""

import base64
import hashlib
import hmac
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from app.db.session import Database
from app.db.tables import WebhookDeliveryRow, WebhookRow
from app.dependencies import Services
from app.kit.process import free_port
from app.settings import Settings
from app.storage.garbage_collection import carry_out
from app.webhooks import outbox, repository
from app.webhooks.delivery import Deliverer
from graftwork import Graftwork
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.live import served
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.receiver import Message, Receiver, receiving
from tests.support.servers import wait_until
from tests.support.work import run_jobs

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(30))
DAY = 86_400
Json = dict[str, Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Http to this machine is allowed, and nothing waits long."""
    local = {"webhook_http": True, "webhook_networks": ["127.0.0.0/8"], "webhook_seconds": 0.05}
    return Settings(**settings.model_dump() | local | {"webhook_backoff_seconds": [0.05] * 6})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@contextmanager
def delivering(services: Services, **changes: object) -> Iterator[Deliverer]:
    """The threads that an API process has, with a database of their own."""
    settings = Settings(**services.settings.model_dump() | changes)
    database = Database(settings.sql_url)
    deliverer = Deliverer(database, settings, services.metrics)
    deliverer.start()
    try:
        yield deliverer
    finally:
        deliverer.stop()
        database.close()


def make(client: Http, url: str, events: tuple[str, ...] = ("*",), **fields: object) -> Json:
    answer = client.post("/v1/webhooks", json={"url": url, "events": list(events), **fields})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def prepare(client: Http, settings: Settings, content: bytes = CSV, name: str = "rows") -> Json:
    answer = client.post("/v1/datasets", files={"file": ("a.csv", content)}, data={"name": name})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    dataset: Json = answer.json()
    return dataset


def tell(services: Services, project_id: str, number: int = 1) -> None:
    """Let so many events happen, each in a transaction."""
    for revision in range(number):
        with services.database.writing() as session:
            which = {"name": "sizes", "alias": "best", "action": "deleted"}
            outbox.alias_moved(session, project_id, **which, revision=revision + 1, model_id=None)


def verified(message: Message, secret: str) -> Json:
    """What a message says, once one of its signatures is that of this secret."""
    assert signature(message, secret) in message.headers["webhook-signature"].split(" ")
    payload: Json = json.loads(message.body)
    return payload


def signature(message: Message, secret: str) -> str:
    """The signature of Standard Webhooks, computed apart from the service's code."""
    signed = b".".join((message.id.encode(), message.headers["webhook-timestamp"].encode(), message.body))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def deliveries(client: Http, webhook: str, **query: str) -> list[Json]:
    answer = client.get(f"/v1/webhooks/{webhook}/deliveries", params={"limit": 200, **query})
    assert answer.status_code == 200, answer.text
    data: list[Json] = answer.json()["data"]
    return data


def wait_for(client: Http, webhook: str, status: str, number: int = 1) -> list[Json]:
    """Its deliveries, once so many have this status."""
    wait_until(lambda: len(deliveries(client, webhook, status=status)) >= number, f"{number} are {status}")
    return deliveries(client, webhook, status=status)


def change(client: Http, webhook: str, **fields: object) -> Json:
    answer = client.request("PATCH", f"/v1/webhooks/{webhook}", json=fields)
    assert answer.status_code == 200, answer.text
    changed: Json = answer.json()
    return changed


# ---- what is told ----


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

    def told() -> set[tuple[str, str | None]]:
        payloads = [json.loads(message.body) for message in receiver.messages]
        return {(payload["type"], payload["data"].get("id")) for payload in payloads}

    with delivering(services):
        wait_until(lambda: expected <= told() and not_yet(receiver, {"warning.few_rows"}) == set(), "all have come")
    payloads = [json.loads(message.body) for message in receiver.messages]
    assert all("zebra" not in message.body.decode() for message in receiver.messages)
    errors = [payload["data"]["error"] for payload in payloads if payload["type"] in ("job.failed", "dataset.failed")]
    assert {frozenset(error) for error in errors} == {frozenset({"code", "category"}), frozenset({"code"})}
    assert len([one for one in payloads if one["type"] == "dataset.failed"]) == len(
        {one["data"]["id"] for one in payloads if one["type"] == "dataset.failed"}
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
    told = [(entry["type"], entry["payload"]["data"]["job"]) for entry in deliveries(client, webhook["id"])]
    assert [job for kind, job in told if kind == "warning.few_rows"] == [dataset["job"]]


def not_yet(receiver: Receiver, types: set[str]) -> set[str]:
    return types - {json.loads(message.body)["type"] for message in receiver.messages}


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


# ---- delivery ----


def test_a_receiver_that_fails_five_times_gets_each_message_once_under_one_id(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    """FAULTS 47."""
    webhook = make(client, receiver.url)
    tell(services, project_id, 3)
    receiver.answer = lambda message: 500 if sum(m.id == message.id for m in receiver.messages) <= 5 else 200
    with delivering(services):
        ended = wait_for(client, webhook["id"], "delivered", 3)
    assert [entry["attempts"] for entry in ended] == [6] * 3
    assert len(receiver.messages) == 18
    by_id = {entry["id"]: [m for m in receiver.messages if m.id == entry["id"]] for entry in ended}
    assert all(len(messages) == 6 and len({m.body for m in messages}) == 1 for messages in by_id.values())
    for message in receiver.messages:
        verified(message, webhook["secret"])
    shown = client.get(f"/v1/webhooks/{webhook['id']}").json()
    assert (shown["enabled"], shown["failing_since"]) == (True, None)


def test_waits_grow_and_honour_retry_after(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    webhook = make(client, receiver.url)
    tell(services, project_id)
    receiver.answer, receiver.retry_after = lambda _: 503, "3600"
    with delivering(services, webhook_backoff_seconds=[5, 300]):
        wait_until(lambda: deliveries(client, webhook["id"])[0]["last_status"] == 503, "it was tried")
    assert 3500 < due_in(services) <= 3600
    receiver.retry_after = "999999999"
    be_due(services)
    with delivering(services, webhook_backoff_seconds=[5, 300]):
        receiver.wait(2)
        wait_until(lambda: due_in(services) > 4000, "it was tried again")
    assert due_in(services) <= DAY
    receiver.retry_after = "1"
    be_due(services, attempts=1)
    with delivering(services, webhook_backoff_seconds=[5, 300]):
        receiver.wait(3)
        wait_until(lambda: due_in(services) > 100, "it was tried again")
    assert 0.8 * 300 - 30 < due_in(services) <= 1.2 * 300


def due_in(services: Services) -> float:
    with services.database.reading() as session:
        return session.execute(select(WebhookDeliveryRow.next_attempt_at)).scalar_one() - repository.now(session)


def be_due(services: Services, **values: object) -> None:
    with services.database.writing() as session:
        session.execute(update(WebhookDeliveryRow).values(next_attempt_at=0, **values))


def test_dead_letters_are_kept_and_delivered_again(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    webhook = make(client, receiver.url)
    tell(services, project_id)
    receiver.answer = lambda _: 404
    with delivering(services, webhook_backoff_seconds=[0.01, 0.01]):
        (dead,) = wait_for(client, webhook["id"], "dead")
        assert (dead["attempts"], dead["last_status"], dead["last_error"]) == (3, 404, "It answered 404.")
        assert dead["ended_at"] is not None
        assert dead["next_attempt_at"] is None
        receiver.answer = lambda _: 200
        path = f"/v1/webhooks/{webhook['id']}/deliveries/{dead['id']}/redeliver"
        again = client.post(path)
        assert (again.status_code, again.json()["status"]) == (202, "pending")
        (ended,) = wait_for(client, webhook["id"], "delivered")
        assert client.post(path).status_code == 202  # one that was delivered, too
        wait_until(lambda: len(receiver.messages) == 5, "it has come again")
    assert {message.id for message in receiver.messages} == {dead["id"]}
    assert ended["attempts"] == 1
    check_problem(client.post(f"/v1/webhooks/{webhook['id']}/deliveries/msg_x/redeliver"), 404, "delivery_not_found")
    text = metrics(client)
    assert text["graftwork_webhook_attempts_total"] == {"delivered": 2, "failed": 2, "dead": 1}
    assert text["graftwork_webhook_deliveries"] == {"pending": 0, "delivered": 1, "dead": 0}


def metrics(client: Http) -> dict[str, dict[str, float]]:
    """Metrics of webhooks by name and label."""
    found: dict[str, dict[str, float]] = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("graftwork_webhook") and "_created" not in line:
            name, _, value = line.rpartition(" ")
            name, _, label = name.partition("{")
            found.setdefault(name, {})[label.split('"')[1] if label else ""] = float(value)
    return found


def test_the_age_of_the_oldest_pending_is_measured(client: Http, services: Services, project_id: str) -> None:
    make(client, "http://127.0.0.1:9/")
    assert metrics(client)["graftwork_webhook_oldest_pending_seconds"] == {"": 0}
    tell(services, project_id)
    with services.database.writing() as session:
        session.execute(update(WebhookDeliveryRow).values(queued_at=WebhookDeliveryRow.queued_at - 100))
    assert 100 <= metrics(client)["graftwork_webhook_oldest_pending_seconds"][""] < 400


def test_a_receiver_that_is_down_gets_it_when_it_is_back(client: Http, services: Services, project_id: str) -> None:
    with receiving() as gone:
        port = gone.port
    webhook = make(client, gone.url)
    tell(services, project_id)
    with delivering(services, webhook_backoff_seconds=[0.1] * 50):
        wait_until(lambda: deliveries(client, webhook["id"])[0]["attempts"] >= 2, "it was tried")
        assert deliveries(client, webhook["id"])[0]["last_error"] == "It cannot be reached: connection refused."
        with receiving(port=port) as back:
            back.wait(1)
            wait_for(client, webhook["id"], "delivered")


def test_a_slow_receiver_does_not_delay_another(client: Http, services: Services, project_id: str) -> None:
    """Its backlog is older and longer than what there is for the other one."""
    held = threading.Event()
    with receiving() as slow, receiving() as quick:
        slow.answer = lambda _: 200 + held.wait(60)
        ids = [make(client, slow.url)["id"] for _ in range(3)]
        tell(services, project_id, 20)
        quick_id = make(client, quick.url)["id"]
        tell(services, project_id, 10)
        with delivering(services):
            wait_for(client, quick_id, "delivered", 10)
            assert len(slow.messages) <= 6, "two attempts at a time of each webhook"
            held.set()
            for webhook in ids:
                wait_for(client, webhook, "delivered", 30)
        assert len({message.id for message in slow.messages}) == len(slow.messages) == 90


def test_failing_webhooks_never_have_all_threads(client: Http, services: Services, project_id: str) -> None:
    """Twelve of them hang; a thirteenth is served meanwhile."""
    held = threading.Event()
    with receiving() as hanging, receiving() as well:
        hanging.answer = lambda _: 500 + held.wait(60)
        for _ in range(12):
            make(client, hanging.url)
        with services.database.writing() as session:
            session.execute(update(WebhookRow).values(failing_since=1.0))
        tell(services, project_id, 3)
        webhook = make(client, well.url)["id"]
        tell(services, project_id, 5)
        with delivering(services):
            wait_for(client, webhook, "delivered", 5)
            assert len(hanging.messages) <= 4
            held.set()


def test_the_webhook_that_was_served_longest_ago_is_next(client: Http, services: Services, project_id: str) -> None:
    """However much older the backlog of another one is."""
    first = make(client, "http://127.0.0.1:9/")["id"]
    tell(services, project_id, 3)
    second = make(client, "http://127.0.0.1:9/")["id"]
    tell(services, project_id, 2)
    claims = [services.database.transact(lambda s: repository.claim(s, 30, [], failing=True)) for _ in range(5)]
    assert {claim.webhook_id for claim in claims[:2] if claim} == {first, second}
    assert {claim.webhook_id for claim in claims[2:4] if claim} == {first, second}


def test_two_processes_never_attempt_one_delivery_at_once(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    ids = [make(client, receiver.url)["id"] for _ in range(4)]
    receiver.answer = lambda _: 200 + threading.Event().wait(0.01)
    tell(services, project_id, 25)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(delivering(services))
        for webhook in ids:
            wait_for(client, webhook, "delivered", 25)
    assert len(receiver.messages) == 100
    assert len({message.id for message in receiver.messages}) == 100


def test_a_claim_is_one_processs_until_its_lease_ends(client: Http, services: Services, project_id: str) -> None:
    """What an attempt that lost its lease writes late changes nothing."""
    webhook = make(client, "http://127.0.0.1:9/")
    tell(services, project_id)

    def claim(seconds: float) -> repository.Claim | None:
        return services.database.transact(lambda s: repository.claim(s, seconds, [], failing=True))

    first = claim(0.2)
    assert first is not None
    assert claim(30) is None
    time.sleep(0.3)
    second = claim(30)
    assert second is not None
    assert (second.id, second.token, second.attempt) == (first.id, first.token + 1, 2)
    services.database.transact(lambda s: repository.failed(s, first, 500, "late", 0.0))
    (entry,) = deliveries(client, webhook["id"])
    assert (entry["status"], entry["last_error"]) == ("pending", None)
    services.database.transact(lambda s: repository.delivered(s, second, 200))
    services.database.transact(lambda s: repository.failed(s, second, 500, "again", 0.0))
    assert deliveries(client, webhook["id"])[0]["status"] == "delivered"


def test_a_delivery_whose_attempts_never_end_is_dead_at_last(
    client: Http, services: Services, project_id: str, receiver: Receiver
) -> None:
    """Each of them was counted when it was claimed."""
    webhook = make(client, receiver.url)
    tell(services, project_id)
    be_due(services, attempts=7)
    with delivering(services):
        (dead,) = wait_for(client, webhook["id"], "dead")
    assert "ended during" in dead["last_error"]
    assert receiver.messages == []


def test_the_api_delivers_by_itself(app: FastAPI, client: Http, services: Services, project_id: str) -> None:
    """The loop begins and ends with the application."""
    with receiving() as receiver:
        webhook = make(client, receiver.url)
        tell(services, project_id)
        with served(app):
            receiver.wait(1)
            wait_for(client, webhook["id"], "delivered")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("webhook")]


def test_the_receiver_of_the_page_takes_what_is_signed_and_nothing_else(
    client: Http, services: Services, project_id: str
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    code, port = page.split("```python\n")[1].split("```")[0], free_port()
    webhook = make(client, f"http://127.0.0.1:{port}/")
    environment = {**os.environ, "WEBHOOK_SECRET": webhook["secret"], "PORT": str(port)}
    program = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as receiver:
        tell(services, project_id)
        with delivering(services, webhook_backoff_seconds=[0.2] * 50):  # until it listens
            (entry,) = wait_for(client, webhook["id"], "delivered")
        assert client.post(f"/v1/webhooks/{webhook['id']}/secret", json={"overlap": 0}).status_code == 201
        assert client.post(f"/v1/webhooks/{webhook['id']}/test").json()["status"] == 401
        receiver.kill()
        assert receiver.stdout is not None
        assert receiver.stdout.read().decode().splitlines() == [f"{entry['id']} alias.moved"]


def test_the_client_makes_tests_and_lists_webhooks(
    app: FastAPI, services: Services, project_id: str, key: str, receiver: Receiver
) -> None:
    with served(app) as port, Graftwork(f"http://127.0.0.1:{port}", key) as graftwork:
        webhook = graftwork.webhooks.create(url=receiver.url, events=["alias.moved"])
        assert webhook.secret.startswith("whsec_")
        assert graftwork.webhooks.test(webhook.id).delivered
        assert graftwork.webhooks.rotate(webhook.id, overlap=0).secret != webhook.secret
        tell(services, project_id)
        wait_until(lambda: list(graftwork.webhooks.deliveries(webhook.id, status="delivered")), "it is delivered")
        (delivery,) = graftwork.webhooks.deliveries(webhook.id)
        graftwork.webhooks.redeliver(webhook.id, delivery.id)
        assert [m.id for m in receiver.wait(3)[1:]] == [delivery.id] * 2
        assert graftwork.webhooks.change(webhook.id, name="mine").name == "mine"
        assert [each.id for each in graftwork.webhooks.list()] == [webhook.id]
        graftwork.webhooks.delete(webhook.id)
        assert list(graftwork.webhooks.list()) == []


# ---- webhooks ----


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
    told = [entry["payload"] for entry in deliveries(client, webhook["id"])]
    assert [one["data"]["id"] for one in told if one["type"].startswith("job.")] == [answer.json()["id"]]
    assert {one["data"]["job"] for one in told if one["type"].startswith("warning.")} <= {answer.json()["id"]}
