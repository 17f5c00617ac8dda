"""What goes wrong: a key without a scope, a service that restarts, and a hand without a mouse."""

import hashlib
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Route, expect

from graftwork import Graftwork
from tests.browser.conftest import ADMIN, Visit, make_key
from tests.support.pages import people
from tests.support.servers import KEY, Service


def test_what_a_key_may_not_do_is_refused_in_words(visit: Visit, running: Service, tmp_path: Path) -> None:
    reader = make_key(running, "read")["secret"]
    page = visit(key=reader)
    page.locator("input[type=file]").set_input_files(people(tmp_path / "people.csv"))
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope 'write'")
    page.get_by_role("link", name="Keys").click()
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope 'admin'")
    predictor = make_key(running, "predict")["secret"]
    page = visit(key=None)
    page.get_by_label("API key").fill(predictor)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope 'read'")


def test_a_key_that_is_revoked_is_asked_for_again(visit: Visit, running: Service) -> None:
    key = make_key(running, "read")
    page = visit(key=key["secret"])
    expect(page.get_by_role("heading", name="Data", level=1)).to_be_visible()
    httpx.delete(f"{running.url}/v1/keys/{key['id']}", headers=ADMIN).raise_for_status()
    expect(page.get_by_label("API key")).to_be_visible()  # within the 5 seconds in which a revocation is known
    assert page.evaluate("sessionStorage.length") == 0


def test_the_page_goes_on_where_a_service_restarts(visit: Visit, running: Service) -> None:
    page = visit("status")
    expect(page.get_by_role("heading", name="Health")).to_be_visible()
    running.api().kill()
    banner = page.get_by_text("The service does not answer")
    expect(banner).to_be_visible()
    expect(banner).to_be_hidden()
    running.wait_ready()
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()


def test_a_large_file_is_sent_in_parts_and_only_the_broken_one_again(
    visit: Visit, graftwork: Graftwork, tmp_path: Path
) -> None:
    file = tmp_path / "noise.npy"
    np.save(file, np.random.default_rng(0).integers(0, 255, (400, 210, 210), dtype=np.uint8))  # 17.6 MB: two parts
    page = visit()
    sent: list[str] = []

    def break_once(route: Route) -> None:
        sent.append(route.request.url.rpartition("/")[2])
        if sent.count("2") == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/parts/*", break_once)
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_role("heading", name="noise")).to_be_visible()
    assert sent == ["1", "2", "2"]
    (upload,) = (one for one in graftwork.uploads.list(status="complete") if one.filename == "noise.npy")
    assert (upload.bytes, upload.sha256) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_file_is_read_and_trained_on_by_keyboard_alone(visit: Visit, graftwork: Graftwork, tmp_path: Path) -> None:
    graftwork.datasets.create(people(tmp_path / "typed.csv"), name="typed", columns={"churn": "target"})
    page = visit(key=None)
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Data", level=1)).to_be_focused()

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent.trim()") == name:
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"the focus on {name} is not seen"
                return
        raise AssertionError(name)

    expect(page.get_by_role("link", name="typed")).to_be_visible()
    tab_to("typed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="typed", level=1)).to_be_focused()
    tab_to("Train a model")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="New training")).to_be_focused()
    tab_to("Start training")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()
