"""Webhooks through kills of the API: what a job's end has to tell arrives, under one id, whoever dies."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.receiver import receiving
from tests.support.servers import HANGS, KEY, QUICK, service, wait_until

Json = dict[str, Any]
LOCAL = {"webhook_http": "true", "webhook_networks": '["127.0.0.0/8"]', "webhook_seconds": 0.2}
CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(30))

pytestmark = pytest.mark.slow


def test_a_message_arrives_though_its_sender_is_killed_before_it_notes_so(
    tmp_path: Path, database_options: Json
) -> None:
    """Two API processes: one is killed after it has sent; the message is sent again under its id."""
    kill = {"failpoints": "webhook.sent=kill", "failpoints_once": tmp_path / "once", "api_processes": 2}
    headers = {"Authorization": f"Bearer {KEY}"}
    with receiving() as receiver, service(tmp_path, **QUICK, **LOCAL, **kill, **database_options) as running:
        (tmp_path / "once").mkdir()
        running.up()
        with httpx.Client(base_url=running.url, headers=headers, trust_env=False, timeout=HANGS) as http:
            body = {"url": receiver.url, "events": ["dataset.ready"]}
            webhook = again(http, "POST", "/v1/webhooks", json=body)
            form = {"files": {"file": ("a.csv", CSV)}, "data": {"name": "rows"}}
            job = again(http, "POST", "/v1/datasets", **form)["job"]
            path = f"/v1/webhooks/{webhook['id']}/deliveries?status=delivered"
            wait_until(lambda: again(http, "GET", path)["data"], "it is delivered")
            (delivered,) = again(http, "GET", path)["data"]
            wait_until(lambda: again(http, "GET", f"/v1/jobs/{job}")["status"] == "succeeded", "its job ends")
    assert running.acted("webhook.sent"), "no API was killed"
    assert (delivered["type"], delivered["attempts"]) == ("dataset.ready", 2)
    assert [message.id for message in receiver.messages] == [delivered["id"]] * 2


def again(http: httpx.Client, method: str, path: str, **options: Any) -> Json:
    """Ask until somebody answers: the API may have just died."""
    answers: list[Json] = []

    def ask() -> bool:
        try:
            answer = http.request(method, path, headers={"Idempotency-Key": path[:20]}, **options)
        except httpx.TransportError:
            return False
        assert answer.is_success or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
        if answer.is_success:
            answers.append(answer.json())
        return answer.is_success

    wait_until(ask, f"{method} {path} is answered")
    return answers[-1]
