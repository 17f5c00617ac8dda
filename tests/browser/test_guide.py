"""The page leads to the guide where the service has one."""

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.support.servers import Service


def test_the_guide_is_in_the_navigation_where_it_was_built(visit: Visit, running: Service) -> None:
    page = visit()
    guide = page.get_by_role("navigation", name="Main").get_by_role("link", name="Guide")
    expect(page.get_by_role("link", name="API")).to_be_visible()
    expect(guide).to_have_count(0)
    folder = running.folder / "guide"
    folder.mkdir()
    (folder / "start.html").write_text("<!doctype html><title>Start</title><h1>The guide</h1>")
    try:
        page.reload()
        guide.click()
        expect(page.get_by_role("heading", name="The guide")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", name="Data", level=1)).to_be_visible()  # the key is still there
    finally:
        (folder / "start.html").unlink()
