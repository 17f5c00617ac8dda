"""What tests of webhooks share: a deliverer, webhooks, and what has arrived."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select, update

from app.db.session import Database
from app.db.tables import WebhookDeliveryRow
from app.dependencies import Services
from app.settings import Settings
from app.webhooks import outbox, repository
from app.webhooks.delivery import Deliverer
from tests.support.http import Http
from tests.support.receiver import Message, Receiver
from tests.support.servers import wait_until
from tests.support.work import run_jobs

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(30))
DAY = 86_400
Json = dict[str, Any]


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


def not_yet(receiver: Receiver, types: set[str]) -> set[str]:
    return types - {json.loads(message.body)["type"] for message in receiver.messages}


def due_in(services: Services) -> float:
    with services.database.reading() as session:
        return session.execute(select(WebhookDeliveryRow.next_attempt_at)).scalar_one() - repository.now(session)


def be_due(services: Services, **values: object) -> None:
    with services.database.writing() as session:
        session.execute(update(WebhookDeliveryRow).values(next_attempt_at=0, **values))


def metrics(client: Http) -> dict[str, dict[str, float]]:
    """Metrics of webhooks by name and label."""
    found: dict[str, dict[str, float]] = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("graftwork_webhook") and "_created" not in line:
            name, _, value = line.rpartition(" ")
            name, _, label = name.partition("{")
            found.setdefault(name, {})[label.split('"')[1] if label else ""] = float(value)
    return found
