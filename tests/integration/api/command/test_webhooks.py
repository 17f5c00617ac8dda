"""`graftwork webhooks` against the service and real receivers."""

import json
import re

import pytest

from app.dependencies import Services
from app.settings import Settings
from tests.support.receiver import Receiver, receiving
from tests.support.servers import wait_until
from tests.support.webhooks import delivering, tell, verified

from .conftest import Run

pytestmark = pytest.mark.one_database


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Http to this machine is allowed, and a message that fails is dead at once."""
    local = {"webhook_http": True, "webhook_networks": ["127.0.0.0/8"], "webhook_seconds": 0.05}
    return Settings(**settings.model_dump() | local | {"webhook_backoff_seconds": []})


def secret_in(text: str) -> str:
    (secret,) = re.findall(r"whsec_\S+", text)
    return str(secret)


def test_a_webhook_is_made_tested_changed_and_deleted(run: Run) -> None:
    with receiving() as first, receiving() as second:
        events = ("--event", "job.*", "--event", "alias.moved")
        secret = secret_in(run("webhooks", "create", first.url, *events, "--name", "mine").stdout)
        listed = run("webhooks", "list").stdout
        assert listed.splitlines()[0].split() == ["ID", "NAME", "URL", "EVENTS", "ENABLED", "FAILING", "SINCE"]
        assert f"mine  {first.url}  job.*,alias.moved  true" in listed
        shown = json.loads(run("webhooks", "show", first.url, "--json").stdout)
        assert (shown["name"], shown["events"]) == ("mine", ["job.*", "alias.moved"])
        assert "whsec_" not in listed + str(shown), "a secret is shown once"

        tested = json.loads(run("webhooks", "test", "mine", "--json").stdout)
        assert (tested["delivered"], tested["status"]) == (True, 204)
        assert verified(first.messages[0], secret)["type"] == "webhook.test"

        changed = run("webhooks", "change", "mine", "--receiver", second.url, "--event", "*", "--name", "ours").stdout
        assert re.search(rf"^url +{re.escape(second.url)}$", changed, re.MULTILINE)
        second.answer = lambda _: 500
        failed = run("webhooks", "test", "ours", code=1)
        assert re.search(r"^delivered +false$", failed.stdout, re.MULTILINE)
        assert re.search(r"^status +500$", failed.stdout, re.MULTILINE)

        assert re.search(r"^disabled_reason +Disabled by", run("webhooks", "disable", "ours").stdout, re.MULTILINE)
        assert json.loads(run("webhooks", "enable", "ours", "--json").stdout)["enabled"] is True
        webhook_id = run("webhooks", "list", "--quiet").stdout.strip()
        assert run("webhooks", "delete", "ours", "--quiet").stdout.strip() == webhook_id == shown["id"]
        assert run("webhooks", "list", "--quiet").stdout == ""


def test_secrets_rotate_and_are_all_that_is_printed_quietly(run: Run) -> None:
    with receiving() as receiver:
        old = run("webhooks", "create", receiver.url, "--event", "*", "--quiet").stdout.strip()
        new = run("webhooks", "rotate", receiver.url, "--quiet").stdout.strip()
        assert old.startswith("whsec_")
        assert new.startswith("whsec_")
        run("webhooks", "test", receiver.url)
        assert verified(receiver.messages[0], old) == verified(receiver.messages[0], new), "both sign for a day"
        newest = json.loads(run("webhooks", "rotate", receiver.url, "--overlap", "0", "--json").stdout)
        run("webhooks", "test", receiver.url)
        verified(receiver.messages[1], newest["secret"])
        assert len(receiver.messages[1].headers["webhook-signature"].split(" ")) == 1


def test_dead_letters_are_listed_and_delivered_again(run: Run, services: Services, project_id: str) -> None:
    receiver = Receiver()
    receiver.answer = lambda _: 503
    with delivering(services):
        run("webhooks", "create", receiver.url, "--event", "alias.moved", "--name", "mine")
        tell(services, project_id, 2)
        dead = ("webhooks", "deliveries", "mine", "--status", "dead", "--quiet")
        wait_until(lambda: len(run(*dead).stdout.split()) == 2, "both messages are dead")
        header, first, _second = run("webhooks", "deliveries", "mine").stdout.splitlines()
        assert header.split()[:5] == ["ID", "TYPE", "STATUS", "ATTEMPTS", "LAST"]
        assert first.split()[1:5] == ["alias.moved", "dead", "1", "503"]
        assert len(run("webhooks", "deliveries", "mine", "--limit", "1", "--quiet").stdout.split()) == 1

        receiver.answer = lambda _: 204
        ids = run(*dead).stdout.split()
        again = run("webhooks", "redeliver", "mine", *ids, "--json")
        assert [delivery["id"] for delivery in json.loads(again.stdout)] == ids
        wait_until(lambda: run(*dead).stdout == "", "none is dead")
    receiver.stop()
    assert {message.id for message in receiver.messages} == set(ids)


def test_mistakes_with_webhooks_are_one_line(run: Run) -> None:
    assert "no webhook named 'mine'" in run("webhooks", "show", "mine", code=2).stderr
    refused = run("webhooks", "create", "https://10.1.2.3/", "--event", "*", code=1).stderr
    assert "url" in refused
    refused = run("webhooks", "create", "http://127.0.0.1:9/", "--event", "job.ended", code=1).stderr
    assert "did you mean job.succeeded?" in refused
    with receiving() as receiver:
        run("webhooks", "create", receiver.url, "--event", "*")
        assert "--receiver, --event or --name" in run("webhooks", "change", receiver.url, code=2).stderr
        assert "404" in run("webhooks", "redeliver", receiver.url, "msg_" + 32 * "0", code=1).stderr
