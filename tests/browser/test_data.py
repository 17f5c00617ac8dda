"""Signing in, and data that is dropped and read."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.support.pages import HOSTILE, people
from tests.support.servers import KEY


def test_a_key_signs_in_and_is_known_to_its_tab_alone(visit: Visit) -> None:
    page = visit(key=None)
    page.get_by_label("API key").fill("no-such-key-0123456789012345678901")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no valid key")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Data", level=1)).to_be_focused()
    assert KEY not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_label("API key")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_dropped_file_is_read_with_what_is_doubtful_first(visit: Visit, tmp_path: Path) -> None:
    file = people(tmp_path / "people.csv")
    page = visit()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_role("heading", name="people", level=1)).to_be_visible()
    headings = page.get_by_role("heading", level=2)
    expect(headings.first).to_have_text("What is doubtful")
    expect(page.locator(".note.warn").first).to_contain_text("were read as missing values")
    expect(page.get_by_role("cell", name=HOSTILE, exact=True).first).to_be_visible()
    assert page.locator("main img").count() == 0


def test_a_click_prepares_a_file_again_under_what_overrules_a_decision(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    page.locator("input[type=file]").set_input_files(people(tmp_path / "again.csv"))
    page.get_by_role("button", name='Prepare again with types = {"age":"category"}').click()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="age", exact=True))
    expect(row).to_contain_text("Category")
    page.get_by_label("Column to predict").select_option("churn")
    page.get_by_role("button", name="Predict this column").click()
    expect(page.get_by_role("heading", name="To predict: churn")).to_be_visible()


def test_a_file_that_cannot_be_read_says_why(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "broken.parquet"
    file.write_bytes(b"PAR1 and nothing else")
    page = visit()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_role("heading", name="The file could not be read")).to_be_visible()
    expect(page.get_by_role("alert")).not_to_be_empty()
