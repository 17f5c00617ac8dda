"""Evaluations through the API and the real runner: on real rows, on other datasets, compared, refused, cancelled."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

from app.db.session import Database
from app.jobs import lease as leases
from app.settings import Settings
from tests.integration.jobs.test_job_life import done, events_of, job_of, upload
from tests.support.choosing import patient
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs
from worker.attempt.drain import Draining
from worker.process import runner

pytestmark = pytest.mark.one_database

HEADS = [{"kind": "classifier", "target": "tumour"}]
COLUMNS = 6
TRAINING = {"epochs": 5}
LABELLED = '{"tumour": "target"}'


def rows(*, head: str | None = None, labels: bool = True, count: int = 569) -> str:
    """Wisconsin's breast cancer data as CSV, its first columns."""
    data = load_breast_cancer()
    lines = [head or ",".join([*(f"c{index}" for index in range(COLUMNS)), *(["tumour"] if labels else [])])]
    for values, target in list(zip(data.data, data.target, strict=True))[:count]:
        name = [data.target_names[target]] if labels else []
        lines.append(",".join([*(f"{value:g}" for value in values[:COLUMNS]), *name]))
    return "\n".join(lines) + "\n"


def flowers(*kinds: str) -> str:
    """Fisher's irises of some kinds as CSV."""
    data = load_iris()
    chosen = [row for row, target in enumerate(data.target) if data.target_names[target] in kinds]
    lines = [f"{','.join(map(str, data.data[row]))},{data.target_names[data.target[row]]}" for row in chosen]
    return "\n".join(["a,b,c,d,tumour", *lines]) + "\n"


def train(client: Http, settings: Settings, dataset: str, name: str, **fields: Any) -> str:
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": HEADS, "name": name, "training": TRAINING, **fields}
    return str(done(client, settings, "/v1/jobs", body)["id"])


def evaluate(client: Http, settings: Settings, **fields: Any) -> dict[str, Any]:
    return done(client, settings, "/v1/jobs", {"kind": "evaluation", **fields})


@pytest.fixture
def cancer(client: Http, settings: Settings) -> str:
    return upload(client, settings, rows(), columns=LABELLED)


def test_an_evaluation_measures_what_the_training_measured_and_makes_no_model(
    client: Http, settings: Settings, cancer: str
) -> None:
    job = train(client, settings, cancer, "tumours")
    found = evaluate(client, settings, model="tumours", dataset=cancer)
    wanted = job_of(client, job)["metrics"]
    label = found["metrics"]["heads"]["tumour"]
    assert label == wanted["heads"]["tumour"]
    assert found["metrics"]["losses"] == pytest.approx(wanted["losses"], rel=1e-5)
    assert (found["outputs"], found["metrics"]["split"]) == ([], "test")
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "auc_roc", "average_precision", "ece"):
        interval = label["intervals"][name]
        assert interval["low"] <= label[name] <= interval["high"], name
    model = client.get("/v1/models/tumours").json()
    assert [one["id"] for one in client.get(model["links"]["evaluations"]).json()["data"]] == [found["id"]]
    assert {one["id"] for one in client.get("/v1/jobs?model=tumours@1").json()["data"]} == {found["id"]}
    check_problem(client.get("/v1/jobs?model=nobody"), 404, "model_not_found")
    assert found["config"]["model"] == found["model"] == model["id"]
    assert [one["type"] for one in events_of(client, found["id"])][-1] == "job.succeeded"


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_every_split_and_a_dataset_with_fewer_classes(client: Http, settings: Settings) -> None:
    whole = upload(client, settings, flowers("setosa", "versicolor", "virginica"), columns=LABELLED)
    train(client, settings, whole, "irises")
    splits = ("all", "train", "validation", "test")
    everything, *parts = (
        evaluate(client, settings, model="irises", dataset=whole, split=split)["metrics"] for split in splits
    )
    assert sum(part["rows"] for part in parts) == everything["rows"] > 140
    right = sum(part["rows"] * part["heads"]["tumour"]["accuracy"] for part in parts)
    assert everything["heads"]["tumour"]["accuracy"] == pytest.approx(right / everything["rows"])
    counts = np.array(everything["heads"]["tumour"]["confusion_matrix"]["counts"])
    fewer = upload(client, settings, flowers("versicolor", "virginica"), columns=LABELLED)
    found = evaluate(client, settings, model="irises", dataset=fewer, split="all")["metrics"]["heads"]["tumour"]
    assert found["confusion_matrix"]["classes"] == ["setosa", "versicolor", "virginica"]
    assert found["confusion_matrix"]["counts"] == [[0, 0, 0], *counts[1:].tolist()]
    assert found["accuracy"] == pytest.approx(np.trace(counts[1:, 1:]) / counts[1:].sum())


def test_two_models_are_compared_on_the_same_rows(client: Http, settings: Settings, cancer: str) -> None:
    train(client, settings, cancer, "tumours")
    train(client, settings, cancer, "hasty", training={"steps": 1, "optimizer": {"kind": "adam", "lr": 1e-5}})
    found = evaluate(client, settings, model="tumours", dataset=cancer, split="all", baseline="hasty")["metrics"]
    compared = found["comparison"]["tumour"]
    mine, theirs = found["heads"]["tumour"], found["baseline"]["heads"]["tumour"]
    assert compared["log_loss"]["difference"] == pytest.approx(mine["log_loss"] - theirs["log_loss"])
    assert compared["log_loss"]["verdict"] == compared["accuracy"]["verdict"] == "better"
    assert compared["accuracy"]["low"] <= compared["accuracy"]["difference"] <= compared["accuracy"]["high"]
    turned = evaluate(client, settings, model="hasty", dataset=cancer, split="all", baseline="tumours")["metrics"]
    assert turned["comparison"]["tumour"]["log_loss"]["verdict"] == "worse"
    same = evaluate(client, settings, model="tumours", dataset=cancer, baseline="tumours@1")["metrics"]
    assert {one["verdict"] for one in same["comparison"]["tumour"].values()} == {"no evidence"}
    assert {one["difference"] for one in same["comparison"]["tumour"].values()} == {0}


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_what_does_not_fit_is_refused_in_words_before_queueing(client: Http, settings: Settings, cancer: str) -> None:
    train(client, settings, cancer, "tumours")
    pretraining = client.post("/v1/jobs", json={"kind": "pretraining", "dataset": cancer, "name": "root"})
    assert pretraining.status_code == 202
    unlabelled = upload(client, settings, rows(labels=False))
    columns = upload(
        client, settings, rows(head=",".join([*(f"d{index}" for index in range(COLUMNS)), "tumour"])), columns=LABELLED
    )
    renamed = upload(
        client,
        settings,
        rows(head=",".join([*(f"c{index}" for index in range(COLUMNS)), "kind"])),
        columns='{"kind": "target"}',
    )
    other = rows(count=100).replace("benign", "unclear")
    unknown = upload(client, settings, other, columns=LABELLED)
    wanted = {
        ("root", cancer, "test"): (["body", "model"], "fine-tune it first"),
        ("tumours", unlabelled, "test"): (["body", "dataset"], "has no target 'tumour'"),
        ("tumours", columns, "test"): (["body", "model"], "lacks column 'c0'"),
        ("tumours", renamed, "test"): (["body", "dataset"], "it has 'kind'"),
        ("tumours", unknown, "test"): (["body", "model"], "never saw: 'unclear'"),
    }
    for (model, dataset, split), (loc, words) in wanted.items():
        body = {"kind": "evaluation", "model": model, "dataset": dataset, "split": split}
        problem = check_problem(client.post("/v1/jobs", json=body), 422, "config_does_not_fit")
        assert problem["errors"][0]["loc"] == loc, problem
        assert words in problem["errors"][0]["msg"]
    body = {"kind": "evaluation", "model": "tumours", "dataset": cancer, "baseline": "root"}
    problem = check_problem(client.post("/v1/jobs", json=body), 422, "config_does_not_fit")
    assert problem["errors"][0]["loc"] == ["body", "baseline"]
    check_problem(client.post("/v1/jobs", json={**body, "baseline": "nobody"}), 404, "model_not_found")
    check_problem(client.post("/v1/jobs", json={**body, "split": "tests", "baseline": None}), 422)


def test_a_cancelled_or_drained_evaluation_ends_as_any_job(
    client: Http, settings: Settings, database: Database, cancer: str
) -> None:
    train(client, settings, cancer, "tumours")
    job = client.post("/v1/jobs", json={"kind": "evaluation", "model": "tumours", "dataset": cancer}).json()["id"]
    with database.writing() as session:
        lease = leases.claim(session, "drained", 60)
    assert lease is not None
    draining = Draining()
    draining.set()
    runner.run(lease, draining, settings)
    assert (job_of(client, job)["status"], job_of(client, job)["attempt"]) == ("queued", 0)
    assert client.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelled"
    assert run_jobs(settings) == 0


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_damaged_model_fails_the_evaluation_in_words(
    client: Http, settings: Settings, database: Database, cancer: str
) -> None:
    train(client, settings, cancer, "tumours")
    files = client.get("/v1/models/tumours").json()["files"]
    digest = next(file["sha256"] for file in files if file["name"] == "heads.safetensors")
    path = settings.data_folder / "artifacts" / "blobs" / digest[:2] / digest
    path.unlink()
    path.write_bytes(b"other")
    job = client.post("/v1/jobs", json={"kind": "evaluation", "model": "tumours", "dataset": cancer}).json()["id"]
    run_jobs(settings)
    assert (job_of(client, job)["status"], job_of(client, job)["error"]["code"]) == ("failed", "corrupt_artifact")


def learned(job: dict[str, Any]) -> list[tuple[str, int]]:
    return [(item["code"], item["count"]) for item in job["warnings"] if item["code"] == "evaluated_on_train"]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_rows_that_the_model_has_learned_from_are_warned_about(client: Http, settings: Settings) -> None:
    first = upload(client, settings, rows(count=300), columns=LABELLED)
    train(client, settings, first, "tumours")
    known = client.get(f"/v1/datasets/{first}").json()["rows"]["train"]
    assert learned(evaluate(client, settings, model="tumours", dataset=first)) == []
    on_train = evaluate(client, settings, model="tumours", dataset=first, split="train", baseline="tumours@1")
    assert learned(on_train) == [("evaluated_on_train", known)]
    assert "test" in on_train["warnings"][-1]["remedy"]
    assert "warning.evaluated_on_train" in [event["type"] for event in events_of(client, on_train["id"])]
    more = upload(client, settings, rows(count=400), columns=LABELLED)
    assert learned(evaluate(client, settings, model="tumours", dataset=more, split="all")) == [
        ("evaluated_on_train", known)
    ]
    lines = rows().splitlines(keepends=True)
    others = upload(client, settings, "".join([lines[0], *lines[301:]]), columns=LABELLED)
    assert learned(evaluate(client, settings, model="tumours", dataset=others, split="all")) == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_new_observations_that_equal_known_ones_are_not_warned_about(client: Http, settings: Settings) -> None:
    """Three categories have few combinations: every new row equals one of train, and none of them was learned."""
    random = np.random.default_rng(0)

    def observed(count: int) -> str:
        answers = (f"{'ab'[a]},{'xyz'[b]},{'nj'[c]}" for a, b, c in random.integers(0, (2, 3, 2), (count, 3)))
        return "\n".join(["one,two,tumour", *answers]) + "\n"

    options = {"columns": LABELLED, "duplicates": "keep"}
    train(client, settings, upload(client, settings, observed(90), **options), "guesses")
    new = upload(client, settings, observed(80), **options)
    assert learned(evaluate(client, settings, model="guesses", dataset=new, split="all")) == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_model_of_few_labels_learns_from_the_test_rows_once_they_have_measured_it(
    client: Http, settings: Settings
) -> None:
    first = upload(client, settings, rows(count=200), columns=LABELLED)
    counts = client.get(f"/v1/datasets/{first}").json()["rows"]
    strategy = {"kind": "automatic", "candidates": ["nearest_neighbours", "raw"]}
    job = job_of(client, train(client, patient(settings), first, "tumours", strategy=strategy, training={}))
    assert (job["metrics"]["split"], job["metrics"]["rows"]) == ("test", counts["test"])
    (event,) = [event for event in events_of(client, job["id"]) if event["type"] == "model.refitted"]
    assert (event["data"]["rows"], event["data"]["rows_before"]) == (200, counts["train"])
    assert [rung["rows"] for rung in event["data"]["ladder"]] == [200, 200], "selected again, on all labelled rows"
    assert client.get("/v1/models/tumours").json()["metrics"]["rows"] == counts["test"]
    measured = evaluate(client, settings, model="tumours", dataset=first)
    assert learned(measured) == [("evaluated_on_train", counts["test"])]
    assert '"refit": "no"' in measured["warnings"][-1]["remedy"]
    train(client, patient(settings), first, "tumours", strategy={**strategy, "refit": "no"}, training={})
    assert learned(evaluate(client, settings, model="tumours", dataset=first)) == []
    chosen = upload(client, settings, rows(count=200), columns=LABELLED, splits='{"train": 0.8, "test": 0.2}')
    train(client, patient(settings), chosen, "tumours", strategy=strategy, training={})
    assert learned(evaluate(client, settings, model="tumours", dataset=chosen)) == []
