"""A sweep by clicking: which fields are searched, where their values come from, and what is sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.support.pages import people
from tests.support.servers import Service


@pytest.fixture(scope="module")
def table(running: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of a table with a target."""
    with running.client() as graftwork:
        file: Path = people(tmp_path_factory.mktemp("files") / "searched.csv")
        dataset_id: str = graftwork.datasets.create(file, name="searched", columns={"churn": "target"})["id"]
        return dataset_id


def _open(visit: Visit, table: str) -> Page:
    page = visit(f"jobs/new?dataset={table}")
    page.get_by_text("Fields to search").click()
    return page


def _request(page: Page) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(page.get_by_role("group", name="JSON").inner_text())
    return request


def test_a_sweep_is_set_started_and_followed_to_its_trials(visit: Visit, table: str) -> None:
    page = _open(visit, table)
    page.get_by_text("All choices").click()
    page.get_by_label("Strategy", exact=True).select_option(label="Full")
    page.get_by_label("Backbone", exact=True).select_option(label="MLP")
    page.get_by_text("Training", exact=True).click()
    page.get_by_role("textbox", name="Epochs").fill("2")
    page.get_by_label("Add a field").select_option("training.optimizer.lr")
    rate = page.get_by_role("group", name="training.optimizer.lr")
    expect(rate.get_by_label("Values come from")).to_have_value("log_uniform")
    rate.get_by_label("Low").fill("0.001")
    rate.get_by_label("High").fill("0.1")
    page.get_by_label("Add a field").select_option("backbone.hidden")
    page.get_by_role("group", name="backbone.hidden").get_by_label("Values", exact=True).fill("[16], [32, 16]")
    page.get_by_role("textbox", name="Trials").fill("2")
    page.get_by_label("Algorithm").select_option(label="Tree-structured Parzen estimator")
    request = _request(page)
    assert request["kind"] == "sweep"
    assert request["space"] == {
        "training.optimizer.lr": {"kind": "log_uniform", "low": 0.001, "high": 0.1},
        "backbone.hidden": {"kind": "choice", "values": [[16], [32, 16]]},
    }
    assert request["trials"] == 2
    assert request["algorithm"] == {"kind": "tpe"}
    assert request["base"]["training"] == {"epochs": 2}
    page.get_by_role("button", name="Start the search").click()
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()
    expect(page.locator(".head .badge")).to_have_text("Succeeded")
    expect(page.get_by_role("link", name="Trial 1")).to_be_visible()


def test_fields_that_are_offered_are_those_of_the_request(visit: Visit, table: str) -> None:
    page = _open(visit, table)
    offered = page.get_by_label("Add a field").locator("option")
    names = offered.all_inner_texts()
    assert {"strategy.kind", "training.optimizer.lr", "heads.0.dropout"} <= set(names)
    assert not {"dataset", "model", "priority", "heads.0.target", "backbone.hidden"} & set(names)
    page.get_by_text("All choices").click()
    page.get_by_label("Backbone", exact=True).select_option(label="MLP")
    expect(offered.filter(has_text="backbone.hidden")).to_have_count(1)
    page.get_by_label("Add a field").select_option("strategy.kind")
    expect(offered.filter(has_text="strategy.kind")).to_have_count(0)
    group = page.get_by_role("group", name="strategy.kind", exact=True)
    group.get_by_label("Linear probe").check()
    group.get_by_label("LoRA").check()
    assert _request(page)["space"] == {"strategy.kind": {"kind": "choice", "values": ["linear_probe", "lora"]}}
    page.get_by_role("button", name="Remove strategy.kind").click()
    expect(page.get_by_role("button", name="Start training")).to_be_visible()
    assert _request(page)["kind"] == "fine_tuning"
    page.get_by_label("Add a field").select_option("strategy.kind")
    page.get_by_role("button", name="Pretrain a backbone").click()
    assert _request(page)["kind"] == "pretraining"
    expect(offered.filter(has_text="method.kind")).to_have_count(1)


def test_a_range_that_does_not_fit_is_refused_in_the_words_of_the_service(visit: Visit, table: str) -> None:
    page = _open(visit, table)
    page.get_by_label("Add a field").select_option("heads.0.dropout")
    page.get_by_label("Low").fill("0.1")
    page.get_by_label("High").fill("3")
    page.get_by_role("button", name="Start the search").click()
    expect(page.get_by_role("alert")).to_contain_text("heads.0.dropout")
