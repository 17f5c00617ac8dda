"""A real Label Studio whose project has a model of the service as its ML backend: people annotate, and it answers."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.kit.process import free_port
from tests.support.programs import program
from tests.support.servers import HANGS, KEY, Service, service, wait_until

TOKEN = "0123456789" * 4
CONFIG = """<View><Text name="text" value="$text"/>
  <Choices name="kind" toName="text" choice="single"><Choice value="good"/><Choice value="bad"/></Choices></View>"""


def text(number: int) -> str:
    return f"{'a kind and quiet place' if number % 2 else 'it was broken and late'} {number}"


@pytest.fixture
def label_studio(tmp_path: Path) -> Iterator[httpx.Client]:
    bin_folder, port, folder = program("label-studio"), free_port(), tmp_path / "label-studio"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"HOME": str(folder), "LABEL_STUDIO_BASE_DATA_DIR": str(folder), "COLLECT_ANALYTICS": "false"}
    environment |= {"LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}
    environment |= {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}  # the service is on this machine
    user = ["--username", "a@example.com", "--password", "a-password-of-tests", "--user-token", TOKEN]
    options = ["--no-browser", "--port", str(port), "--host", "", "--enable-legacy-api-token"]
    with (folder / "log").open("wb") as log:
        command = [bin_folder / "label-studio", "start", *user, *options]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    headers = {"Authorization": f"Token {TOKEN}"}
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=HANGS, trust_env=False)

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        try:
            return client.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, "Label Studio answers")
        yield client
    finally:
        client.close()
        os.killpg(server.pid, 15)
        server.wait(HANGS)


@pytest.fixture
def graftwork(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path / "service") as running:
        yield running.up()


def asked(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


@pytest.mark.slow
def test_annotations_train_and_predictions_come_back(graftwork: Service, label_studio: httpx.Client) -> None:
    with graftwork.client() as client:
        rows = "text\n" + "".join(f"{text(number)}\n" for number in range(60))
        dataset = client.datasets.create(rows.encode(), name="texts", wait=True)
        client.jobs.create(kind="pretraining", dataset=dataset.id, name="reviews", training={"epochs": 1}, wait=True)

    project = asked(label_studio.post("/api/projects", json={"title": "Reviews", "label_config": CONFIG}))["id"]
    asked(label_studio.post(f"/api/projects/{project}/import", json=[{"text": text(number)} for number in range(20)]))
    url = f"{graftwork.url}/label-studio/reviews"
    backend = {"url": url, "project": project, "title": "Graftwork"}
    backend |= {"auth_method": "BASIC_AUTH", "basic_auth_user": "graftwork", "basic_auth_pass": KEY}
    connected = asked(label_studio.post("/api/ml", json=backend))
    assert (connected["state"], connected["model_version"]) == ("CO", "reviews@1")
    (webhook,) = asked(label_studio.get("/api/webhooks", params={"project": project}))
    assert webhook["url"] == f"{url}/webhook"
    headers = {"headers": {"Authorization": f"Bearer {KEY}"}}
    asked(label_studio.patch(f"/api/webhooks/{webhook['id']}", json=headers))

    tasks = asked(label_studio.get("/api/tasks", params={"project": project, "page_size": 100}))["tasks"]
    truth = {task["id"]: "good" if "kind" in task["data"]["text"] else "bad" for task in tasks}
    for task in list(truth)[:10]:
        region = {"from_name": "kind", "to_name": "text", "type": "choices", "value": {"choices": [truth[task]]}}
        asked(label_studio.post(f"/api/tasks/{task}/annotations", json={"result": [region]}))
    with graftwork.client() as client:
        wait_until(lambda: client.models.get("reviews").version >= 3, "annotations make versions")
        learned = client.models.get("reviews").version
        asked(label_studio.post(f"/api/ml/{connected['id']}/train"))  # the button Start Training
        wait_until(lambda: client.models.get("reviews").version > learned, "Start Training makes one, too")
        version = f"reviews@{client.models.get('reviews').version}"

    everything = {"selectedItems": {"all": True, "excluded": []}}
    action = {"id": "retrieve_tasks_predictions", "project": project}
    asked(label_studio.post("/api/dm/actions", params=action, json=everything))

    def predicted() -> dict[int, str]:
        listed = asked(label_studio.get("/api/predictions", params={"project": project}))
        return {
            item["task"]: item["result"][0]["value"]["choices"][0]
            for item in listed
            if item["model_version"] == version and item["result"]
        }

    wait_until(lambda: len(predicted()) == 20, "every task has a prediction of the newest version")
    answers = predicted()
    unseen = list(truth)[10:]
    assert sum(answers[task] == truth[task] for task in unseen) >= 8
