"""From a file to an answer by clicking, on each modality, without an identifier and without reading JSON."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.support.pages import people, pictures, sensors, tickets
from tests.support.servers import KEY

_MAX_CLICKS = 10
_COUNT_CLICKS = 'window.clicks = 0; addEventListener("click", (event) => { clicks += event.isTrusted; }, true);'


def _type_a_text(page: Page) -> None:
    page.get_by_label("Text", exact=True).fill("the app crashes since yesterday")
    page.get_by_role("button", name="Predict", exact=True).click()


def _take_a_picture(page: Page) -> None:
    page.get_by_role("button", name="Take a picture of the data").click()


def _take_a_row(page: Page) -> None:
    page.get_by_role("button", name="Take a row of the data").click()
    page.get_by_role("button", name="Predict", exact=True).click()


def _predict(page: Page) -> None:
    page.get_by_role("button", name="Predict", exact=True).click()


@pytest.mark.parametrize(
    ("make", "name", "ask", "answers"),
    [
        (people, "customers.csv", _take_a_row, "yes|no"),
        (tickets, "tickets.jsonl", _type_a_text, "bug"),
        (pictures, "digits.zip", _take_a_picture, "zero|one"),
        (sensors, "sensors.npz", _predict, "0|1"),
    ],
)
def test_a_file_becomes_an_answer_within_ten_clicks(
    visit: Visit,
    tmp_path: Path,
    make: Callable[[Path], Path],
    name: str,
    ask: Callable[[Page], None],
    answers: str,
) -> None:
    page = visit(key=None)
    page.evaluate(_COUNT_CLICKS)
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(make(tmp_path / name))
    read = page.get_by_role("heading", name="What was read")
    failed = page.get_by_role("heading", name="The file could not be read")
    expect(read.or_(failed)).to_be_visible()
    if failed.is_visible():  # an array of such a shape may be images, too: the page says so
        expect(page.get_by_role("alert")).to_contain_text("series")
        page.get_by_label("Modality").select_option(label="Series")
        page.get_by_role("button", name="Prepare again", exact=True).click()
        expect(read).to_be_visible()
    chooses = page.get_by_role("button", name="Predict this column")
    if chooses.is_visible():
        chooses.click()
        expect(page.get_by_role("heading", name=re.compile("^To predict"))).to_be_visible()
    page.get_by_role("link", name="Train a model").click()
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("link", name="Try the model").click()
    ask(page)
    answer = page.locator("b.answer")
    expect(answer).to_have_text(re.compile(f"^({answers})$"))
    expect(page.locator(".bars.answer")).to_contain_text("%")
    assert page.evaluate("window.clicks") <= _MAX_CLICKS
