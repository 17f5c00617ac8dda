"""Webhooks by clicking: made, tested, paused, their secret replaced, and what became of their messages."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, make_key
from tests.support.pages import people
from tests.support.receiver import Receiver, receiving
from tests.support.servers import Service


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def project(running: Service, request: pytest.FixtureRequest) -> str:
    """A key of a project without webhooks."""
    return make_key(running, "read", "write", project=request.node.name)["secret"]


def _create(page: Page, url: str, name: str = "") -> None:
    page.get_by_label("URL").fill(url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("A dataset is ready").check()
    page.get_by_role("button", name="Create a webhook").click()


def _upload(running: Service, project: str, file: Path) -> None:
    with running.client(project) as client:
        client.datasets.create(people(file), name="sent")


def test_a_webhook_is_made_tested_paused_and_deleted(visit: Visit, project: str, receiver: Receiver) -> None:
    page = visit("webhooks", key=project)
    _create(page, receiver.url, "watcher")
    expect(page.get_by_role("heading", name="The secret of watcher")).to_be_visible()
    expect(page.get_by_role("group", name="Secret")).to_contain_text("whsec_")
    page.get_by_role("link", name="watcher").click()
    expect(page.get_by_text("whsec_")).to_have_count(0)
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("The receiver answered 204")).to_be_visible()
    receiver.answer = lambda _: 500
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("The test was not delivered")).to_contain_text("500")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".head .badge")).to_have_text("Disabled")
    page.get_by_role("button", name="Enable again").click()
    expect(page.locator(".head .badge")).to_have_text("Enabled")
    page.get_by_label("Name").fill("renamed")
    page.get_by_label("Further events").fill("warning.few_rows")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="renamed", level=1)).to_be_visible()
    expect(page.locator(".head")).to_contain_text("dataset.ready, warning.few_rows")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are no webhooks yet.")).to_be_visible()


def test_a_secret_is_replaced_and_shown_once(visit: Visit, project: str, receiver: Receiver) -> None:
    page = visit("webhooks", key=project)
    _create(page, receiver.url, "watcher")
    first = page.get_by_role("group", name="Secret").inner_text()
    page.get_by_role("link", name="watcher").click()
    page.get_by_label("Earlier secrets sign, too").select_option("for an hour")
    page.get_by_role("button", name="Make a new secret").click()
    second = page.get_by_role("group", name="Secret")
    expect(second).to_contain_text("whsec_")
    assert second.inner_text() != first
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("The receiver answered 204")).to_be_visible()
    assert len(receiver.messages[-1].headers["webhook-signature"].split(" ")) == 2
    page.reload()
    expect(page.get_by_text("Earlier secrets sign, too, until")).to_be_visible()
    expect(page.get_by_text("whsec_")).to_have_count(0)


def test_a_dead_letter_is_seen_and_delivered_again(
    visit: Visit, running: Service, project: str, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answer = lambda _: 500
    page = visit("webhooks", key=project)
    _create(page, receiver.url, "watcher")
    page.get_by_role("link", name="watcher").click()
    expect(page.get_by_text("Nothing was sent yet.")).to_be_visible()
    _upload(running, project, tmp_path / "sent.csv")
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name="dataset.ready", exact=True))
    expect(row).to_contain_text("Dead")
    expect(row).to_contain_text("500")
    row.get_by_role("button", name="dataset.ready", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("group", name="What is sent")).to_contain_text('"name": "sent"')
    dialog.get_by_role("button", name="Close").click()
    page.get_by_label("Which deliveries").select_option("Delivered")
    expect(page.get_by_text("No delivery is in this state.")).to_be_visible()
    page.get_by_label("Which deliveries").select_option("Dead letters")
    receiver.answer = lambda _: 204
    row.get_by_role("button", name="Redeliver").click()
    expect(page.get_by_text("No delivery is in this state.")).to_be_visible()
    page.get_by_label("Which deliveries").select_option("All deliveries")
    expect(row).to_contain_text("Delivered")
    before = len(receiver.messages)
    page.set_viewport_size({"width": 320, "height": 800})  # where the list has no room for the button
    row.get_by_role("button", name="dataset.ready", exact=True).click()
    dialog.get_by_role("button", name="Redeliver").click()
    assert len({message.id for message in receiver.wait(before + 1)}) == 1


def test_what_the_service_refuses_of_a_webhook_stands_in_its_words(
    visit: Visit, running: Service, project: str
) -> None:
    page = visit("webhooks", key=project)
    _create(page, "ftp://example.org/hook")
    expect(page.get_by_role("alert")).to_contain_text(re.compile("url: .*http"))
    page.get_by_label("URL").fill("http://127.0.0.1:9/hook")
    page.get_by_label("Further events").fill("job.succeded")
    page.get_by_role("button", name="Create a webhook").click()
    expect(page.get_by_role("alert")).to_contain_text("did you mean job.succeeded?")
    reader = make_key(running, "read")["secret"]
    page = visit("webhooks", key=reader)
    _create(page, "http://127.0.0.1:9/hook")
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope 'write'")
