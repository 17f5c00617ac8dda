"""Jobs that are followed and steered, and forms drawn from schemas; aliases and keys by clicking."""

from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from graftwork import Graftwork
from tests.browser.conftest import Visit
from tests.support.pages import people, pictures
from tests.support.servers import Service, wait_until


@pytest.fixture(scope="module")
def images(running: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of pictures with labels."""
    file = pictures(tmp_path_factory.mktemp("files") / "followed.zip")
    with running.client() as graftwork:
        dataset_id: str = graftwork.datasets.create(file, name="followed")["id"]
    return dataset_id


def test_a_training_is_followed_paused_resumed_and_cancelled(visit: Visit, graftwork: Graftwork, images: str) -> None:
    job = graftwork.jobs.create(
        kind="pretraining",
        dataset=images,
        method={"kind": "autoencoder"},
        training={"epochs": 20_000, "evaluate_every": 5},
    )
    page = visit(f"jobs/{job['id']}")
    state = page.locator(".head .badge")
    expect(state).to_have_text("Running")
    expect(page.get_by_text("of 140,000").or_(page.get_by_text("step"))).not_to_have_count(0)
    expect(page.get_by_role("list", name="What happened")).to_contain_text("Training started.")
    expect(page.get_by_role("heading", name="How it learned")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("Running")
    page.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("Cancelled")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_what_is_set_in_the_form_stands_in_the_request_and_nothing_else(
    visit: Visit, graftwork: Graftwork, images: str
) -> None:
    page = visit(f"jobs/new?dataset={images}")
    request = page.get_by_role("group", name="JSON")
    expect(request).to_contain_text('"classifier"')
    assert "training" not in request.inner_text()
    page.get_by_text("All choices").click()
    page.get_by_label("Strategy", exact=True).select_option(label="Linear probe")
    page.get_by_label("Augmentations").select_option(label="Shift")
    page.get_by_text("Training", exact=True).click()
    page.get_by_role("textbox", name="Epochs").fill("2")
    for part in ('"kind": "linear_probe"', '"kind": "shift"', '"epochs": 2'):
        expect(request).to_contain_text(part)
    page.get_by_role("button", name="Remove Shift").click()
    expect(request).not_to_contain_text("shift")
    page.get_by_role("button", name="curl").click()
    expect(page.get_by_role("group", name="curl")).to_contain_text("/v1/jobs -d '{")
    page.get_by_role("textbox", name="Epochs").fill("-2")
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("alert")).to_contain_text("training.epochs")


def test_a_job_is_left_while_the_page_asks_whether_more_will_happen(
    visit: Visit, graftwork: Graftwork, images: str
) -> None:
    job = graftwork.jobs.create(
        kind="pretraining", dataset=images, method={"kind": "autoencoder"}, training={"epochs": 1}, wait=True
    )
    page, asked = visit("models"), list[Route]()

    def answer_once(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.continue_()

    page.route(f"**/v1/jobs/{job['id']}", answer_once)
    page.goto(f"{page.url.split('#')[0]}#/jobs/{job['id']}")
    expect(page.get_by_role("list", name="What happened")).to_be_visible()
    wait_until(lambda: page.title() and len(asked) > 1, "the stream of events has ended")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()
    assert page.locator(".toast").all_inner_texts() == []


def test_an_estimate_stands_beside_the_button(visit: Visit, images: str) -> None:
    page = visit(f"jobs/new?dataset={images}")
    page.get_by_role("button", name="Pretrain a backbone").click()
    page.get_by_text("All choices").click()
    page.get_by_label("Method").select_option(label="Autoencoder")
    page.get_by_role("button", name="Estimate time and memory").click()
    expect(page.get_by_text("Largest safe batch")).to_be_visible()


def test_an_alias_is_pointed_at_a_version_and_a_key_is_made_and_revoked(
    visit: Visit, graftwork: Graftwork, tmp_path: Path
) -> None:
    dataset = graftwork.datasets.create(people(tmp_path / "named.csv"), name="named", columns={"churn": "target"})
    heads = [{"kind": "classifier", "target": "churn"}]
    job = graftwork.jobs.create(
        kind="fine_tuning",
        dataset=dataset["id"],
        name="named",
        heads=heads,
        strategy={"kind": "linear_probe"},
        wait=True,
    )
    page = visit(f"models/{job['outputs'][0]['model']}")
    page.get_by_label("Point an alias at this version").fill("prod")
    page.get_by_role("button", name="Set the alias").click()
    expect(page.get_by_role("cell", name="prod", exact=True)).to_be_visible()
    page.get_by_role("link", name="Keys").click()
    page.get_by_label("Name").fill("made by hand")
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_role("heading", name="The key made by hand")).to_be_visible()
    page.get_by_role("link", name="Status").click()
    page.get_by_role("link", name="Keys").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="made by hand"))
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
