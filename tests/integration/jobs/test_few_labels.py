"""Pretrainings that few labels join or watch, as their user sees them."""

from typing import Any

import pytest

from app.settings import Settings
from tests.integration.jobs.test_choices import HEADS, ROWS, labelled  # noqa: F401 - a fixture
from tests.integration.jobs.test_job_life import events_of, job_of, upload
from tests.support.http import Http
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

PROBE = {"target": "label", "keep": "best"}
TRAINING = {"epochs": 4, "batch_size": 16, "evaluate_every": 1}


@pytest.fixture
def unlabelled(client: Http, settings: Settings) -> str:
    numbers = [[((row * step) % 97) / 97 - 0.5 for step in (29, 53, 13, 71)] for row in range(1, ROWS + 1)]
    lines = [",".join(f"{value:.4f}" for value in row) for row in numbers]
    return upload(client, settings, "a,b,c,d\n" + "\n".join(lines) + "\n")


def pretrain(client: Http, dataset: str, **fields: Any) -> dict[str, Any]:
    body = {"kind": "pretraining", "dataset": dataset, "training": TRAINING, **fields}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def test_a_small_labelled_set_watches_and_is_not_deleted_meanwhile(
    client: Http,
    settings: Settings,
    unlabelled: str,
    labelled: str,  # noqa: F811 - the fixture
) -> None:
    job = pretrain(client, unlabelled, watch={**PROBE, "dataset": labelled})
    refused = client.delete(f"/v1/datasets/{labelled}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    run_jobs(settings)
    points = client.get(f"/v1/jobs/{job['id']}/metrics").json()["data"]
    told = [point["values"] for point in points if "watch/probe_accuracy" in point["values"]]
    assert len(told) == 4
    assert all({"watch/effective_rank", "watch/dead_units", "val/loss"} <= one.keys() for one in told)
    (kept,) = [event["data"] for event in events_of(client, job["id"]) if event["type"] == "watch.kept"]
    assert kept["score"] == max(one["watch/probe_accuracy"] for one in told)
    (output,) = job_of(client, job["id"])["outputs"]
    model = client.get(f"/v1/models/{output['model']}").json()
    assert (model["watch"]["dataset"], model["labels"]) == (labelled, None)
    assert client.delete(f"/v1/datasets/{labelled}").status_code == 204
    refused = client.post(f"/v1/jobs/{job['id']}/extend", json={"epochs": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "dataset_deleted")
    assert labelled in refused.json()["detail"]


def test_labels_join_and_the_model_says_so(client: Http, settings: Settings, labelled: str) -> None:  # noqa: F811
    job = pretrain(client, labelled, labels={"kind": "supervised", "target": "label"})
    assert "labels.weight" in {one["field"] for one in job["config"]["decisions"]}
    run_jobs(settings)
    done = job_of(client, job["id"])
    assert done["metrics"]["losses"].keys() >= {"loss", "labels", "method"}
    model = client.get(f"/v1/models/{done['outputs'][0]['model']}").json()
    assert model["labels"]["target"] == "label"


def test_what_does_not_fit_is_refused_before_queueing(
    client: Http,
    settings: Settings,
    unlabelled: str,
    labelled: str,  # noqa: F811 - the fixture
) -> None:
    other = upload(client, settings, "a,b,label\n" + "\n".join(f"0.{i},0.{i},{'xy'[i % 2]}" for i in range(40)) + "\n")
    for fields, place in (
        ({"watch": {**PROBE, "dataset": "ds_nowhere"}}, ["body", "watch", "dataset"]),
        ({"watch": {**PROBE, "dataset": other}}, ["body", "watch", "dataset"]),
        ({"watch": PROBE}, ["body", "watch", "target"]),
        ({"watch": {**PROBE, "target": "colour", "dataset": labelled}}, ["body", "watch", "target"]),
        ({"labels": {"kind": "supervised", "target": "label"}}, ["body", "labels", "target"]),
    ):
        answer = client.post("/v1/jobs", json={"kind": "pretraining", "dataset": unlabelled, **fields})
        assert answer.status_code == 422, fields
        assert [one["loc"] for one in answer.json()["errors"]] == [place]


def test_rows_of_another_dataset_join_a_probe(
    client: Http,
    settings: Settings,
    unlabelled: str,
    labelled: str,  # noqa: F811 - the fixture
) -> None:
    body = {"kind": "fine_tuning", "dataset": labelled, "model": "root", "heads": HEADS}
    answer = client.post("/v1/jobs", json={**body, "unlabelled": {"dataset": unlabelled, "use": "always"}})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["config"]["strategy"]["kind"] == "linear_probe"
    assert client.delete(f"/v1/datasets/{unlabelled}").status_code == 409
    run_jobs(settings)
    assert job_of(client, job["id"])["status"] == "succeeded"
    (used,) = [event["data"] for event in events_of(client, job["id"]) if event["type"] == "pseudo_labels.used"]
    assert used["rows"] > ROWS / 2
    refused = client.post("/v1/jobs", json={**body, "unlabelled": {}})
    assert [one["loc"] for one in refused.json()["errors"]] == [["body", "unlabelled", "dataset"]]
