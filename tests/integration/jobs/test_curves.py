"""Curves of real jobs, as numbers and as pictures."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits

from app.settings import Settings
from tests.integration.jobs.test_job_life import job_of, upload
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # drawing asks no database
KINDS = {"roc", "precision_recall", "calibration", "confusion_matrix"}


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.fixture
def digits_job(client: Http, settings: Settings) -> str:
    """Digits told apart: 600 images, a fifth of them to test on."""
    data = load_digits()
    content = npz(x=(data.images[:600] * 15).astype(np.uint8), y=data.target[:600])
    answer = client.post("/v1/datasets", files={"file": ("d.npz", content)}, data={"name": "digits"})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    return fine_tuned(client, settings, answer.json()["id"], [{"kind": "classifier", "target": "label"}])


def fine_tuned(client: Http, settings: Settings, dataset: str, heads: list[dict[str, Any]]) -> str:
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": heads, "name": "tuned", "training": {"epochs": 8}}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    job = job_of(client, answer.json()["id"])
    assert job["status"] == "succeeded", job["error"]
    return str(job["id"])


def entries(client: Http, job: str) -> list[dict[str, Any]]:
    return list(client.get(job_of(client, job)["links"]["curves"]).json()["data"])


def test_a_fine_tuning_has_curves_in_every_form(client: Http, settings: Settings, digits_job: str) -> None:
    found = entries(client, digits_job)
    assert (found[0]["kind"], found[0]["head"]) == ("learning", None)
    assert {entry["kind"] for entry in found[1:]} == KINDS
    assert {entry["head"] for entry in found[1:]} == {"label"}
    for entry in found:
        numbers = client.get(entry["links"]["json"])
        assert (numbers.status_code, numbers.json()["kind"]) == (200, entry["kind"])
        picture = client.get(entry["links"]["png"])
        assert picture.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(picture.content)).size == (640, 480)
        drawing = client.get(entry["links"]["svg"])
        assert drawing.headers["content-type"].startswith("image/svg+xml")
        for answer in (picture, drawing):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-disposition"].startswith("attachment; filename=")
            assert "sandbox" in answer.headers["content-security-policy"]
    metrics = job_of(client, digits_job)["metrics"]["heads"]["label"]
    lines = client.get(found[1]["links"]["json"]).json()["lines"]
    assert np.mean([line["area"] for line in lines]) == pytest.approx(metrics["auc_roc"])
    (learned,) = (one for one in client.get(found[0]["links"]["json"]).json()["lines"] if one["name"] == "train/loss")
    assert learned["y"][-1] < learned["y"][0]


def test_an_evaluation_has_the_curves_of_what_it_measured(client: Http, settings: Settings, digits_job: str) -> None:
    dataset = job_of(client, digits_job)["dataset"]
    body = {"kind": "evaluation", "model": "tuned", "dataset": dataset}
    job = client.post("/v1/jobs", json=body).json()["id"]
    check_problem(client.get(f"/v1/jobs/{job}/curves/roc"), 404, "curve_not_found")
    assert [entry["kind"] for entry in entries(client, job)] == ["learning"]
    run_jobs(settings)
    for kind in KINDS:
        mine, theirs = (client.get(f"/v1/jobs/{one}/curves/{kind}").json() for one in (job, digits_job))
        assert mine == theirs
    check_problem(client.get(f"/v1/jobs/{job}/curves/predictions"), 404, "curve_not_found")
    check_problem(client.get(f"/v1/jobs/{job}/curves/nonsense"), 422)
    check_problem(client.get(f"/v1/jobs/{job}/curves/roc?format=pdf"), 422)


def test_where_several_heads_have_a_curve_one_is_named(client: Http, settings: Settings) -> None:
    data = load_diabetes()
    head = "age,sex,bp,s1,progress,bmi"
    values = np.column_stack([data.data[:, [0, 1, 3, 4]], data.target, data.data[:, 2]])
    lines = "\n".join(",".join(f"{value:.5g}" for value in row) for row in values)
    columns = '{"progress": "target", "bmi": "target"}'
    dataset = upload(client, settings, f"{head}\n{lines}\n", columns=columns)
    heads = [{"kind": "regressor", "target": target} for target in ("progress", "bmi")]
    job = fine_tuned(client, settings, dataset, heads)
    problem = check_problem(client.get(f"/v1/jobs/{job}/curves/predictions"), 404, "curve_not_found")
    assert "'progress', 'bmi'" in str(problem["detail"])
    (line,) = client.get(f"/v1/jobs/{job}/curves/predictions?head=progress").json()["lines"]
    assert line["x"] == sorted(line["x"])
    r2 = job_of(client, job)["metrics"]["heads"]["progress"]["r2"]
    x, y = np.array(line["x"]), np.array(line["y"])
    assert 1 - ((x - y) ** 2).sum() / ((x - x.mean()) ** 2).sum() == pytest.approx(r2)
    assert client.get(f"/v1/jobs/{job}/curves/predictions?head=bmi&format=png").status_code == 200
