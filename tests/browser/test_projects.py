"""Projects by clicking: one is made, gets and loses keys and limits, and is for administrators alone."""

from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import expect

from graftwork import Graftwork
from tests.browser.conftest import ADMIN, Visit, axe_violations, make_key
from tests.support.pages import people
from tests.support.servers import Service

_GIB = 2**30


def _project(running: Service, name: str) -> dict[str, Any]:
    projects = httpx.get(f"{running.url}/v1/admin/projects?limit=200", headers=ADMIN).json()["data"]
    project: dict[str, Any] = next(project for project in projects if project["name"] == name)
    return project


def test_a_project_is_made_with_a_key_and_its_keys_are_made_and_revoked(visit: Visit, running: Service) -> None:
    page = visit("projects")
    page.get_by_role("textbox", name="Project").fill("workshop")
    page.get_by_label("Name of its first key").fill("Ada")
    page.get_by_role("button", name="Create a project").click()
    expect(page.get_by_role("heading", name="The first key of workshop")).to_be_visible()
    secret = page.get_by_role("group", name="The new key").inner_text()
    page.get_by_role("link", name="workshop").click()
    expect(page.get_by_role("heading", name="Keys of workshop")).to_be_visible()
    page.get_by_label("Name").fill("Bob")
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_role("heading", name="The key Bob")).to_be_visible()
    page.reload()
    expect(page.get_by_role("cell", name="Bob")).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="Ada"))
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
    expect(page.get_by_role("heading", name="Keys of workshop")).to_be_visible()
    page.get_by_role("link", name="Keys", exact=True).click()
    expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    expect(page.get_by_role("cell", name="Bob")).to_have_count(0)
    page = visit("data", key=secret)
    expect(page.get_by_label("API key")).to_be_visible()  # a revoked key is asked for again


def test_limits_are_given_and_taken_away_and_others_stay(visit: Visit, running: Service) -> None:
    make_key(running, "read", project="limited")
    page = visit("projects")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="limited", exact=True))
    row.get_by_role("button", name="Limits of limited").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Jobs at once").fill("3")
    dialog.get_by_label("Disk, in GiB").fill("1.5")
    dialog.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("1.5 GiB")
    expect(row).to_contain_text("0 / 3")
    limited = _project(running, "limited")
    assert limited["limits"]["quota_bytes"] == 1.5 * _GIB
    assert sorted(limited["own_limits"]) == ["max_running_jobs", "quota_bytes"]
    row.get_by_role("button", name="Limits of limited").click()
    dialog.get_by_label("Disk, in GiB").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(row).not_to_contain_text("1.5 GiB")
    assert _project(running, "limited")["own_limits"] == ["max_running_jobs"]
    row.get_by_role("button", name="Limits of limited").click()
    dialog.get_by_label("Rows of its datasets").fill("many")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("quota_rows")


def test_projects_are_for_administrators(visit: Visit, running: Service) -> None:
    page = visit("projects", key=make_key(running, "read", "write")["secret"])
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope 'admin'")


def test_administrators_see_the_jobs_of_all_projects_and_of_each(
    visit: Visit, running: Service, graftwork: Graftwork, tmp_path: Path
) -> None:
    secret = make_key(running, "read", "write", project="elsewhere")["secret"]
    with Graftwork(running.url, secret) as other:
        dataset = other.datasets.create(people(tmp_path / "theirs.csv"), name="theirs")
    own = graftwork.datasets.create(people(tmp_path / "ours.csv"), name="ours")
    page = visit("jobs")
    theirs, ours = (page.get_by_role("cell", name=of["job"][-6:]) for of in (dataset, own))
    expect(ours.first).to_be_visible()
    expect(theirs).to_have_count(0)
    choice = page.get_by_label("Project", exact=True)
    choice.select_option(label="All projects")
    row = page.get_by_role("row").filter(has=theirs)
    expect(row).to_contain_text("elsewhere")
    expect(row).to_contain_text("Succeeded")
    expect(page.get_by_role("row").filter(has=ours)).to_contain_text("default")
    choice.select_option(label="elsewhere")
    expect(ours).to_have_count(0)
    expect(row).to_be_visible()
    assert axe_violations(page) == []
    page.get_by_label("Kind").select_option(label="Sweep")
    expect(page.get_by_text("No job is of this kind")).to_be_visible()
    page.get_by_label("Kind").select_option(label="All kinds")
    page.get_by_label("Project", exact=True).select_option(label="This project")
    expect(theirs).to_have_count(0)
    expect(ours.first).to_be_visible()
    page = visit("jobs", key=secret)
    expect(page.get_by_role("link", name=dataset["job"][-6:])).to_be_visible()
    expect(page.get_by_label("Project", exact=True)).to_have_count(0)
    page = visit("jobs?project=all", key=secret)
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope 'admin'")
