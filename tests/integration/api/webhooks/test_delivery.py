"""How messages are delivered: retries, turns, dead letters, leases; at real receivers, on both databases."""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import update

from app.db.tables import WebhookDeliveryRow, WebhookRow
from app.dependencies import Services
from app.kit.process import free_port
from app.webhooks import repository
from graftwork import Graftwork
from tests.support.http import Http
from tests.support.live import served
from tests.support.problems import check_problem
from tests.support.receiver import Receiver, receiving
from tests.support.servers import wait_until
from tests.support.webhooks import (
    DAY,
    be_due,
    deliveries,
    delivering,
    due_in,
    make,
    metrics,
    tell,
    verified,
    wait_for,
)


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
    page = (Path(__file__).parents[4] / "docs" / "webhooks.md").read_text(encoding="utf-8")
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
