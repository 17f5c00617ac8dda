"""Models by clicking: the traffic of aliases, and what pretraining was worth."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from graftwork import Graftwork
from tests.browser.conftest import Visit, axe_violations
from tests.support.pages import people, sums
from tests.support.servers import Service, wait_until

HEADS = [{"kind": "classifier", "target": "churn"}]
PROBE = {"kind": "linear_probe"}


@pytest.fixture(scope="module")
def versions(running: Service, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The ids of three versions of a model `churned`, of a table of people."""
    file = people(tmp_path_factory.mktemp("files") / "churned.csv")
    with running.client() as graftwork:
        dataset = graftwork.datasets.create(file, name="churned", columns={"churn": "target"})["id"]
        request = {"kind": "fine_tuning", "dataset": dataset, "name": "churned", "heads": HEADS, "strategy": PROBE}
        jobs = [graftwork.jobs.create(**request, training={"seed": seed}) for seed in range(3)]
        ended = [graftwork.jobs.wait(job["id"]) for job in jobs]
    return [job["outputs"][0]["model"] for job in ended]


def _split(page: Page, alias: str) -> None:
    page.get_by_role("button", name=f"Split the traffic of {alias}").click()


def test_the_traffic_of_an_alias_is_split_and_shadowed(visit: Visit, graftwork: Graftwork, versions: list[str]) -> None:
    graftwork.models.alias("churned", "live", {"1": 3, "2": 1})
    page = visit(f"models/{versions[0]}")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="live", exact=True))
    expect(row).to_contain_text("version 1: 75 %, version 2: 25 %")
    _split(page, "live")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Version 1")).to_have_value("75")
    expect(dialog.get_by_label("Version 3")).to_have_value("0")
    dialog.get_by_label("Version 3").fill("15")
    expect(dialog.get_by_role("status")).to_have_text("Together 115 %")
    dialog.get_by_role("button", name="Change the traffic").click()
    expect(dialog.get_by_role("alert")).to_contain_text("115 % together")
    dialog.get_by_label("Version 1").fill("60")
    dialog.get_by_label("Shadow", exact=True).select_option("3")
    dialog.get_by_role("button", name="Change the traffic").click()
    expect(dialog.get_by_role("alert")).to_contain_text("a version stands here twice")  # the API's sentence
    dialog.get_by_label("Version 3").fill("0")
    dialog.get_by_label("Version 1").fill("75")
    dialog.get_by_label("Of how many predictions").fill("50")
    dialog.get_by_role("button", name="Change the traffic").click()
    expect(row).to_contain_text("shadow: version 3, for 50 % of the predictions")
    changed = graftwork.models.get_alias("churned", "live")
    assert [(one["version"], one["weight"]) for one in changed["versions"]] == [(1, 75), (2, 25)]
    assert changed["shadow"] == {"model": versions[2], "version": 3, "share": 0.5}
    page.get_by_role("button", name="Roll back").click()
    expect(row).not_to_contain_text("shadow")


def test_a_shadow_says_how_it_differs(visit: Visit, graftwork: Graftwork, versions: list[str]) -> None:
    graftwork.models.alias("churned", "watched", "churned@1", shadow="2")
    inputs = [{"age": 30, "city": "Bern", "plan": "basic"}, {"age": 70, "city": "Oslo", "plan": "pro"}]
    graftwork.models.predict("churned@watched", inputs)
    wait_until(lambda: graftwork.models.alias_report("churned", "watched"), "the shadow is compared")
    page = visit(f"models/{versions[0]}")
    table = page.get_by_role("group", name="What the shadow of watched has shown")
    expect(table.get_by_role("row", name="version 1 with shadow version 2")).to_contain_text("%")


def test_an_alias_that_somebody_has_changed_meanwhile_stays(
    visit: Visit, graftwork: Graftwork, versions: list[str]
) -> None:
    graftwork.models.alias("churned", "shared", "churned@1")
    page = visit(f"models/{versions[0]}")
    _split(page, "shared")
    graftwork.models.alias("churned", "shared", "churned@2")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Change the traffic").click()
    expect(dialog.get_by_role("alert")).to_contain_text("It has changed since you read it")
    assert graftwork.models.get_alias("churned", "shared")["version"] == 2


@pytest.fixture(scope="module")
def reported(running: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job with a transfer report: numbers, and a backbone that was pretrained on them."""
    file = sums(tmp_path_factory.mktemp("files") / "sums.csv")
    with running.client() as graftwork:
        dataset = graftwork.datasets.create(file, name="sums", columns={"sum": "target"})["id"]
        method, training = {"kind": "autoencoder"}, {"epochs": 2}
        graftwork.jobs.create(
            kind="pretraining", dataset=dataset, name="sums", method=method, training=training, wait=True
        )
        job: dict[str, Any] = graftwork.jobs.create(
            kind="fine_tuning",
            dataset=dataset,
            name="judged",
            model="sums",
            heads=[{"kind": "regressor", "target": "sum"}],
            strategy={**PROBE, "layer": "last"},
            training={"epochs": 2},
            transfer_report={"rounds": 2, "folds": 2, "measured_on": "folds", "budget_seconds": 300},
            wait=True,
        )
    return job


def test_a_transfer_report_says_first_whether_pretraining_helped(visit: Visit, reported: dict[str, Any]) -> None:
    head = reported["metrics"]["transfer"]["heads"]["sum"]
    verdict = {"helps": "Pretraining helps", "hurts": "Pretraining does not help", "no evidence": "Undecided"}
    gain = f"{abs(100 * head['gain']['value']):.1f} points of explained variance (95 %: "
    page = visit(f"models/{reported['outputs'][0]['model']}")
    for leads_there in ("model", f"jobs/{reported['id']}"):
        if leads_there != "model":
            page.goto(f"{page.url.split('#')[0]}#/{leads_there}")
        card = page.get_by_role("region", name="Did pretraining help?")
        expect(card).to_contain_text(verdict[head["verdict"]])
        expect(card).to_contain_text(gain)
        card.get_by_role("link", name="See the controls").click()
        expect(page.get_by_role("heading", name="Did pretraining help?", level=1)).to_be_focused()
        expect(page.get_by_role("heading", level=2).first).to_have_text("Verdict")
        expect(page.locator(".verdict")).to_contain_text(gain)
    table = page.get_by_role("group", name="Compared with controls: sum")
    for control, name in (("majority", "the most frequent answer"), ("raw_linear", "the row itself")):
        row = table.get_by_role("row", name=name)
        low, high = (f"{abs(100 * head['controls'][control]['gain'][end]):.1f}" for end in ("low", "high"))
        expect(row).to_contain_text(re.compile(rf"95 %: .?{re.escape(low)} … .?{re.escape(high)}"))
    expect(page.get_by_role("region", name="What it took")).to_contain_text("of 300 CPU seconds")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"verdict": "helps"}, "Pretraining helps: +6.9 points of accuracy (95 %: +4.0 … +10.6) over the row itself"),
        ({"verdict": "hurts"}, "Pretraining does not help, it hurts: +6.9 points"),
        ({"verdict": "no evidence"}, "Undecided: +6.9 points"),
        ({"score": "negative_loss"}, "Pretraining helps: +0.069 in the loss"),
        (
            {"gain": None, "verdict": "no evidence", "reason": "worse than raw_linear"},
            "Undecided: worse than the row itself.",
        ),
    ],
)
def test_each_verdict_has_its_sentence(
    visit: Visit, reported: dict[str, Any], change: dict[str, Any], sentence: str
) -> None:
    head = reported["metrics"]["transfer"]["heads"]["sum"]
    gain = {"value": 0.069, "low": 0.04, "high": 0.106}
    known = {"score": "accuracy", "verdict": "helps", "gain": gain, "best_control": "raw_linear"}
    report = {**reported["metrics"]["transfer"], "heads": {"label": {**head, **known, **change}}}
    page = visit()
    draw = """async (report) => {
        const script = document.querySelector("script[type=module]").src.replace("main.js", "parts/transfer.js");
        const { transferParts } = await import(script);
        return transferParts(report)[0].textContent;
    }"""
    assert sentence in page.evaluate(draw, report)


def test_a_job_without_a_transfer_report_says_so(visit: Visit, graftwork: Graftwork, versions: list[str]) -> None:
    job = graftwork.models.get(versions[0])["job"]
    page = visit(f"jobs/{job}")
    expect(page.get_by_role("heading", name="The model is ready")).to_be_visible()
    assert page.get_by_text("Did pretraining help?").count() == 0
    page.goto(f"{page.url.split('#')[0]}#/jobs/{job}/transfer")
    expect(page.get_by_text("This job has no transfer report")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_form_of_the_traffic_is_accessible(
    visit: Visit, graftwork: Graftwork, versions: list[str], theme: str, width: int
) -> None:
    graftwork.models.alias("churned", "open", "churned@1")
    page = visit(f"models/{versions[0]}", theme=theme, width=width)
    opener = page.get_by_role("button", name="Split the traffic of open")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Version 3")).to_be_focused()
    assert axe_violations(page) == []
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_curves_show_intervals(visit: Visit, versions: list[str], reported: dict[str, Any]) -> None:
    page = visit(f"models/{reported['outputs'][0]['model']}")
    chart = page.locator(".stack").filter(has=page.get_by_role("heading", name="Predictions: sum"))
    expect(chart.locator(".whisker")).to_have_count(1)
    expect(chart).to_contain_text("intervals that the model itself answers with")
    page = visit(f"models/{versions[0]}")
    for name, interval in (("ROC", ".band"), ("Precision and recall", ".band"), ("Calibration", ".whisker")):
        chart = page.locator(".stack").filter(has=page.get_by_role("heading", name=f"{name}: churn"))
        expect(chart.locator(interval)).not_to_have_count(0)
    precision = page.get_by_role("img", name="Precision and recall: churn").locator(".line")
    expect(precision).to_have_attribute("d", re.compile(r"^M52\.00 "))  # its first step begins at a recall of 0
    expect(page.get_by_role("group", name="Confusion matrix of churn")).to_be_visible()
    page.get_by_text("All measures").click()
    row = page.get_by_role("group", name="Classes of churn").get_by_role("row", name="yes")
    expect(row).to_contain_text(" … ")
