"""The description of the API at /docs."""

from playwright.sync_api import Browser, expect

from tests.browser.conftest import Visit
from tests.support.servers import Service


def test_the_requests_are_described_without_a_key_and_without_another_host(chromium: Browser, running: Service) -> None:
    context = chromium.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{running.url}/docs")
    expect(page.get_by_role("heading", name="API", level=1)).to_be_visible()
    page.get_by_label("Find a request").fill("estimate")
    page.get_by_role("link", name="POST /v1/jobs/estimate").click()
    expect(page.get_by_text("Sign in to send it.")).to_be_visible()
    assert page.get_by_role("button", name="Send").count() == 0
    assert all(url.startswith(running.url) for url in asked)
    context.close()


def test_bodies_have_examples(visit: Visit) -> None:
    page = visit("api/post%20%2Fv1%2Frecommendations")
    expect(page.get_by_role("group", name="Example")).to_contain_text('"dataset": "flowers"')
    page = visit("api/post%20%2Fv1%2Fdatasets")
    expect(page.get_by_role("group", name="Example").first).to_contain_text("petal,sepal,kind")
    expect(page.get_by_role("group", name="Example").last).to_contain_text('"upload": "upl_0"')
    expect(page.get_by_role("heading", name="Fields of the form")).to_be_visible()
    expect(page.get_by_label("Upload", exact=True)).to_have_count(1)


def test_a_request_is_filled_in_and_sent(visit: Visit) -> None:
    page = visit("api/get%20%2Fv1%2Fdatasets")
    page.get_by_label("limit").fill("1000")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("query.limit")
    page.get_by_label("limit").fill("1")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("group", name="The answer")).to_contain_text('"object": "list"')


def test_a_body_is_drawn_from_its_schema(visit: Visit) -> None:
    page = visit("api/post%20%2Fv1%2Fjobs")
    page.get_by_label("Body").select_option(label="Export")
    page.get_by_label("Model").fill("no-such-model")
    page.get_by_label("Format").select_option(label="Onnx")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no such model")
    expect(page.get_by_role("group", name="JSON")).to_contain_text('"format": "onnx"')
