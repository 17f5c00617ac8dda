"""Jobs side by side: chosen in the list, by keyboard too, and compared under an address that holds them."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from graftwork import Graftwork
from tests.browser.conftest import Visit
from tests.support.pages import people
from tests.support.servers import Service


@pytest.fixture(scope="module")
def trained(running: Service, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two trainings that differ in their learning rate and epochs alone."""
    with running.client() as graftwork:
        file = people(tmp_path_factory.mktemp("files") / "compared.csv")
        dataset = graftwork.datasets.create(file, name="compared", columns={"churn": "target"})["id"]
        return [_train(graftwork, dataset, rate, epochs) for rate, epochs in ((0.001, 4), (0.01, 6))]


def _train(graftwork: Graftwork, dataset: str, rate: float, epochs: int) -> str:
    job = graftwork.jobs.create(
        kind="fine_tuning",
        dataset=dataset,
        name="compared",
        heads=[{"kind": "classifier", "target": "churn"}],
        strategy={"kind": "full"},
        backbone={"kind": "mlp"},
        training={"epochs": epochs, "optimizer": {"kind": "adamw", "lr": rate}},
        wait=True,
    )
    job_id: str = job["id"]
    return job_id


def _box(job: str) -> str:
    return f"input[type=checkbox][value={job}]"


def test_jobs_are_chosen_by_keyboard_and_stay_chosen_under_a_filter(visit: Visit, trained: list[str]) -> None:
    page = visit("jobs")
    page.locator(_box(trained[0])).focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("1 job is chosen.")).to_be_visible()
    expect(page.get_by_text("Choose 2 to 6 jobs to compare them.")).to_be_visible()
    expect(page.get_by_role("link", name="Compare them")).to_have_count(0)
    page.get_by_label("Kind").select_option("Fine-tuning")
    expect(page.locator(_box(trained[0]))).to_be_checked()
    page.locator(_box(trained[1])).focus()
    page.keyboard.press("Space")
    page.get_by_role("link", name="Compare them").press("Enter")
    expect(page.get_by_role("heading", name="Jobs side by side")).to_be_visible()
    assert all(job in page.url for job in trained)
    page.get_by_role("link", name="← Jobs").click()
    expect(page.locator(_box(trained[1]))).to_be_checked()
    page.get_by_role("button", name="Choose none").click()
    expect(page.locator("td.pick input:checked")).to_have_count(0)


def test_the_focus_stays_on_a_check_box_while_the_list_follows_what_happens(
    visit: Visit, graftwork: Graftwork, trained: list[str], tmp_path: Path
) -> None:
    page = visit("jobs")
    box = page.locator(_box(trained[0]))
    box.check()
    box.focus()
    job = graftwork.datasets.create(people(tmp_path / "later.csv"), name="later")["job"]
    expect(page.locator(_box(job))).to_be_visible()
    expect(box).to_be_focused()
    expect(box).to_be_checked()


def test_what_differs_is_shown_and_the_rest_is_folded(visit: Visit, trained: list[str]) -> None:
    page = visit(f"jobs/compare?ids={','.join(trained)}")
    table = page.get_by_role("group", name="What differs in the requests").get_by_role("row")
    cells = [row.get_by_role("cell").all_inner_texts() for row in table.all()[1:]]
    assert sorted(row[0] for row in cells) == ["training.epochs", "training.optimizer.lr"]
    assert ["training.optimizer.lr", "0.001", "0.01"] in cells
    same = page.get_by_text(re.compile(r"\d+ fields are the same"))
    expect(page.get_by_role("cell", name="backbone.kind", exact=True)).to_be_hidden()
    same.click()
    expect(page.get_by_role("cell", name="backbone.kind", exact=True)).to_be_visible()


def test_figures_have_intervals_and_curves_of_one_name_share_a_chart(visit: Visit, trained: list[str]) -> None:
    page = visit(f"jobs/compare?ids={','.join(trained)}")
    accuracy = (
        page.get_by_role("group", name="What was measured")
        .get_by_role("row")
        .filter(has=page.get_by_role("cell", name=re.compile("^Accuracy")))
    )
    expect(accuracy.get_by_text(re.compile(r"95 %: .* … .*"))).to_have_count(2)
    chart = page.get_by_role("img", name="val/loss.")
    expect(chart.locator("path.line[d^='M']")).to_have_count(2)
    names = [f"compared · {job[-6:]}" for job in trained]
    legend = page.locator(".chart").filter(has=chart).locator(".legend")
    for name in names:
        expect(legend).to_contain_text(name)
    expect(page.get_by_role("img", name=re.compile("^ROC"))).to_have_count(1)
    expect(page.get_by_text("measured on other rows")).to_have_count(0)


def test_a_job_that_is_gone_is_named_and_a_single_one_is_not_compared(visit: Visit, trained: list[str]) -> None:
    page = visit(f"jobs/compare?ids={','.join(trained)},job_gone")
    expect(page.get_by_role("alert")).to_contain_text("job_gone: ")
    expect(page.get_by_role("heading", name="What was measured")).to_be_visible()
    page = visit(f"jobs/compare?ids={trained[0]}")
    expect(page.get_by_text("Choose 2 to 6 jobs to compare them.")).to_be_visible()


def test_jobs_that_were_measured_on_other_rows_say_so(
    visit: Visit, graftwork: Graftwork, trained: list[str], tmp_path: Path
) -> None:
    other = graftwork.datasets.create(people(tmp_path / "other.csv", 200), name="other", columns={"churn": "target"})
    job = _train(graftwork, other["id"], 0.01, 2)
    page = visit(f"jobs/compare?ids={trained[0]},{job}")
    expect(page.get_by_text("measured on other rows")).to_be_visible()
    rows = page.get_by_role("group", name="What was measured").get_by_role("row")
    expect(rows.filter(has_text="30 of test")).to_contain_text("20 of test")
