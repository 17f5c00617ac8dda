"""Every view, in both themes and at every width: accessible, fast, and of this host alone."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from graftwork import DatasetFailedError, Graftwork
from tests.browser.conftest import Visit, axe_violations
from tests.browser.pictures import README_PICTURE, ROOT, are_fonts_as_before, is_as_before, keep_readme_picture, reduced
from tests.support.pages import HOSTILE, people, pictures, sensors, sums, tickets
from tests.support.servers import Service

_WIDTHS = (320, 1280, 3840)
_SECONDS_TO_COME = 20.0


@pytest.fixture(scope="module")
def views(running: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Views by name, of a service that holds something of everything."""
    folder = tmp_path_factory.mktemp("files")
    with running.client() as graftwork:
        table = _upload(graftwork, people(folder / "people.csv"), HOSTILE, columns={"churn": "target"})
        _upload(graftwork, tickets(folder / "tickets.jsonl"), "tickets")
        series = _upload(graftwork, sensors(folder / "sensors.npz"), "sensors", modality="series")
        with pytest.raises(DatasetFailedError) as failed:
            graftwork.datasets.create(folder / "sensors.npz", name="doubtful")
        images = _upload(graftwork, pictures(folder / "digits.zip"), "digits")
        strategy = {"kind": "linear_probe"}
        heads = [{"kind": "classifier", "target": "churn"}]
        job = graftwork.jobs.create(
            kind="fine_tuning", dataset=table, heads=heads, name="churn", training={"epochs": 3}, wait=True
        )
        backbone = graftwork.jobs.create(
            kind="pretraining",
            dataset=images,
            name="digits",
            method={"kind": "autoencoder"},
            training={"epochs": 4},
            wait=True,
        )
        digits = graftwork.jobs.create(
            kind="fine_tuning",
            dataset=images,
            name="reader",
            model="digits",
            strategy=strategy,
            heads=[{"kind": "classifier", "target": "label"}],
            wait=True,
        )
        webhook = graftwork.webhooks.create(url="https://hooks.example/graftwork", events=["job.*"], name=HOSTILE)
        graftwork.jobs.create(kind="evaluation", model="reader", dataset=images, wait=True)  # an event, to be delivered
        again = graftwork.jobs.create(
            kind="fine_tuning", dataset=table, heads=heads, name="churn", strategy=strategy, wait=True
        )
        graftwork.models.alias("churn", "live", {"1": 90, "2": 10})
        graftwork.models.alias("churn", "next", "churn@1", shadow="2")
        sum_of = _upload(graftwork, sums(folder / "sums.csv"), "sums", columns={"sum": "target"})
        graftwork.jobs.create(kind="pretraining", dataset=sum_of, name="sums", training={"epochs": 2}, wait=True)
        judged = graftwork.jobs.create(
            kind="fine_tuning",
            dataset=sum_of,
            name="adder",
            model="sums",
            heads=[{"kind": "regressor", "target": "sum"}],
            strategy={**strategy, "layer": "last"},
            transfer_report={"rounds": 2, "folds": 2, "measured_on": "folds", "budget_seconds": 300},
            wait=True,
        )
        compared = graftwork.jobs.create(
            kind="evaluation", model="churn@2", baseline="churn@1", dataset=table, wait=True
        )
    models = {
        name: made["outputs"][0]["model"]
        for name, made in {"table": again, "backbone": backbone, "image": digits, "number": judged}.items()
    }
    return {
        "data": "data",
        **{
            f"dataset of {name}": f"data/{one}"
            for name, one in {
                "a table": table,
                "series": series,
                "pictures": images,
                "what failed": failed.value.dataset["id"],
            }.items()
        },
        "jobs": "jobs",
        "job": f"jobs/{job['id']}",
        "pretraining": f"jobs/{backbone['id']}",
        "transfer report": f"jobs/{judged['id']}/transfer",
        "evaluation": f"jobs/{compared['id']}",
        "new job": f"jobs/new?dataset={table}",
        "compared jobs": f"jobs/compare?ids={job['id']},{digits['id']},{backbone['id']}",
        "webhooks": "webhooks",
        "webhook": f"webhooks/{webhook['id']}",
        "models": "models",
        **{f"model of a {name}": f"models/{one}" for name, one in models.items()},
        "status": "status",
        "projects": "projects",
        "keys": "keys",
        "keys of a project": "keys?project=default",
        "api": "api",
        "request": "api/post%20%2Fv1%2Fjobs",
        "request of a form": "api/post%20%2Fv1%2Fdatasets",
    }


def _upload(graftwork: Graftwork, file: Path, name: str, **options: object) -> str:
    dataset_id: str = graftwork.datasets.create(file, name=name, **options)["id"]
    return dataset_id


def _settle(page: Page) -> None:
    """Wait until the view is whole: nothing loads, and nothing was asked for half a second."""
    expect(page.locator(".loading")).to_have_count(0)
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(theme: str, visit: Visit, views: dict[str, str]) -> None:
    assert axe_violations(visit(key=None, theme=theme)) == []
    page = visit(theme=theme)
    for name, view in views.items():
        page.goto(f"{page.url.split('#')[0]}#/{view}")
        _settle(page)
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        assert axe_violations(page) == [], name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_forms_and_dialogs(theme: str, visit: Visit, views: dict[str, str]) -> None:
    page = visit(views["new job"], theme=theme)
    page.get_by_text("Fields to search").click()
    for field in ("training.optimizer.lr", "strategy.kind", "heads.0.hidden"):
        page.get_by_label("Add a field").select_option(field)
    assert axe_violations(page) == []
    page = visit(views["webhook"], theme=theme)
    page.get_by_role("button", name="job.", exact=False).first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert axe_violations(page) == []
    page = visit(views["projects"], theme=theme)
    page.get_by_role("button", name="Limits of default").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert axe_violations(page) == []
    page = visit(views["jobs"], theme=theme)
    page.locator("td.pick input").first.check()
    assert axe_violations(page) == []


def test_no_view_scrolls_sideways_at_any_width(visit: Visit, views: dict[str, str]) -> None:
    for width in _WIDTHS:
        page = visit(width=width)
        for name, view in views.items():
            page.goto(f"{page.url.split('#')[0]}#/{view}")
            _settle(page)
            widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert widths[0] <= widths[1], f"{name} at {width}"


def _comes_to_look_as_before(page: Page, name: str, folder: Path) -> bool:
    """Whether a view looks as it did, as soon as all that it asks for has come: on a busy machine some comes late."""
    deadline = time.monotonic() + _SECONDS_TO_COME
    while not is_as_before(reduced(page), name, folder):
        if time.monotonic() > deadline:
            return False
        page.wait_for_timeout(200)
    return True


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_looks_as_before(theme: str, visit: Visit, views: dict[str, str], tmp_path: Path) -> None:
    page, changed = visit(theme=theme), []
    if not are_fonts_as_before(page):
        pytest.skip("this machine has other fonts than the pictures")
    for name, view in {"sign in": "", **views}.items():
        shown = visit(key=None, theme=theme) if name == "sign in" else page
        if shown is page:
            page.goto(f"{page.url.split('#')[0]}#/{view}")
            _settle(page)
        if not _comes_to_look_as_before(shown, f"{theme}-{name.replace(' ', '-')}.png", tmp_path):
            changed.append(name)
    assert not changed, f"`KEEP=1 make browser` writes down how they look now; see the pictures in {tmp_path}"


def test_the_picture_of_the_readme_is_small(visit: Visit, views: dict[str, str]) -> None:
    page = visit(views["model of a image"])
    page.get_by_role("button", name="Take a picture of the data").click()
    expect(page.locator("b.answer")).to_be_visible()
    _settle(page)
    keep_readme_picture(page)
    assert README_PICTURE.stat().st_size < 150_000
    assert README_PICTURE.relative_to(ROOT).as_posix() in (ROOT / "README.md").read_text(encoding="utf-8")
