"""The page in a real Chromium, against a whole service."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from graftwork import Graftwork
from tests.support.servers import KEY, QUICK, Service, service

_MILLISECONDS = 60_000.0  # after which something is taken for hanging, on however busy a machine
expect.set_options(timeout=_MILLISECONDS)
_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


# Webhooks may be sent to receivers of the tests, and are given up after the second attempt.
_RECEIVERS = {
    "webhook_http": "true",
    "webhook_networks": '["127.0.0.0/8"]',
    "webhook_seconds": 0.2,
    "webhook_backoff_seconds": "[0.1]",
}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One `graftwork up` for all tests."""
    folder = tmp_path_factory.mktemp("service")
    with service(folder, guide=folder / "guide", **QUICK, **_RECEIVERS) as started:
        yield started.up()


@pytest.fixture
def graftwork(running: Service) -> Iterator[Graftwork]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


ADMIN = {"Authorization": f"Bearer {KEY}"}


def make_key(running: Service, *scopes: str, project: str | None = None) -> dict[str, str]:
    """A new key of a project: its id and its secret."""
    body = {"name": "a key of a test", "scopes": scopes, "project": project}
    answer = httpx.post(f"{running.url}/v1/keys", json=body, headers=ADMIN)
    made: dict[str, str] = answer.raise_for_status().json()
    return made


Visit = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser, running: Service) -> Iterator[Visit]:
    """Open a view, signed in; at the end nothing was asked of another host, and nothing broke the security policy."""
    pages: list[Page] = []
    asked: list[str] = []
    complaints: list[str] = []

    def open_page(view: str = "data", key: str | None = KEY, theme: str = "light", width: int = 1280) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
        context.set_default_timeout(_MILLISECONDS)
        context.add_init_script(_VIOLATIONS)
        if key is not None:
            context.add_init_script(f'sessionStorage.setItem("graftwork.key", "{key}")')
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        pages.append(page)
        page.goto(f"{running.url}/#/{view}")
        page.wait_for_selector("h1")
        return page

    yield open_page
    for page in pages:
        complaints += page.evaluate("window.violations")
        page.context.close()
    elsewhere = [url for url in asked if not url.startswith((running.url, "data:", "blob:"))]
    assert elsewhere == []
    assert complaints == []


def axe_violations(page: Page) -> list[str]:
    """What axe finds in the view that is open."""
    violations = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in violations for node in rule["nodes"]]
