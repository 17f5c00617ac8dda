"""Sweeps that are refused, each at the place where it is wrong."""

import json
from typing import Any

import pytest

from app.db.session import Database
from app.settings import Settings
from tests.support.http import Http
from tests.support.sweeps import LR, base, run_one, submit, sweep, table, trials_of, upload

pytestmark = pytest.mark.one_database


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    return upload(client, settings, table())


SPACES: list[tuple[dict[str, Any], str]] = [
    (
        {"space": {"training.optimizer.lr": {**LR, "high": 1e4}}},
        "training.optimizer.lr",
    ),
    ({"space": {"training.optimizer.lrr": LR}}, "training.optimizer.lrr"),
    ({"space": {"training.optimizer": LR}}, "training.optimizer"),
    ({"space": {"strategy.kind": {"kind": "choice", "values": ["full", "half"]}}}, "strategy.kind"),
    ({"space": {"heads.0.dropout": {"kind": "uniform", "low": 0.1, "high": 1.5}}}, "heads.0.dropout"),
    ({"space": {"heads.1.dropout": {"kind": "uniform", "low": 0.1, "high": 0.5}}}, "heads.1.dropout"),
    ({"space": {"training.batch_size": {"kind": "integer", "low": 0, "high": 8}}}, "training.batch_size"),
    ({"space": {"training.batch_size": {"kind": "uniform", "low": 1, "high": 8.5}}}, "training.batch_size"),
    ({"space": {"model": {"kind": "choice", "values": [None, "nobody"]}}}, "model"),
    ({"space": {"dataset": {"kind": "choice", "values": ["ds_1"]}}}, "dataset"),
    ({"space": {"heads.0.target": {"kind": "choice", "values": ["label"]}}}, "heads.0.target"),
    (
        {
            "space": {
                "strategy": {"kind": "choice", "values": ["auto"]},
                "strategy.kind": {"kind": "choice", "values": ["full"]},
            }
        },
        "strategy.kind",
    ),
]


def test_a_space_that_does_not_fit_is_refused_with_its_place(client: Http, dataset: str) -> None:
    for fields, place in SPACES:
        answer = client.post("/v1/jobs", json=sweep(dataset, **fields))
        assert answer.status_code == 422, (fields, answer.text)
        assert answer.json()["errors"][0]["loc"] == ["body", "space", place]
    assert client.get("/v1/jobs?kind=sweep").json()["data"] == []


OUT_OF_BOUNDS: list[tuple[dict[str, Any], list[str] | None]] = [
    ({"space": {}}, ["body", "space"]),
    ({"space": {f"training.f{number}": LR for number in range(21)}}, ["body", "space"]),
    ({"space": {"training.optimizer.lr": {"kind": "uniform", "low": 2, "high": 1}}}, None),
    ({"trials": 1001}, ["body", "trials"]),
    ({"trials": 0}, ["body", "trials"]),
    ({"parallel": 17}, ["body", "parallel"]),
    ({"metric": "test/accuracy"}, ["body", "metric"]),
    ({"metric": "val/beauty"}, ["body", "direction"]),
    ({"algorithm": {"kind": "grid"}}, ["body", "algorithm"]),
]


def test_what_is_out_of_bounds_is_refused(client: Http, dataset: str) -> None:
    for fields, loc in OUT_OF_BOUNDS:
        answer = client.post("/v1/jobs", json=sweep(dataset, **fields))
        assert answer.status_code == 422, (fields, answer.text)
        assert loc is None or answer.json()["errors"][0]["loc"] == loc, (fields, answer.text)


def test_trials_have_the_sweeps_priority(client: Http, settings: Settings, database: Database, dataset: str) -> None:
    refused = client.post("/v1/jobs", json=sweep(dataset, base=base(dataset, priority=3)))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "base"], refused.text
    job = submit(client, sweep(dataset, priority=3))
    run_one(settings, database)
    assert {trial["priority"] for trial in trials_of(client, job)} == {3}


def test_a_base_that_does_not_fit_is_refused_at_its_place(client: Http, settings: Settings, dataset: str) -> None:
    body = sweep(dataset, base=base(dataset, heads=[{"kind": "classifier", "target": "nothing"}]))
    answer = client.post("/v1/jobs", json=body).json()
    assert answer["errors"][0]["loc"] == ["body", "base", "heads", 0, "target"]


def test_without_validation_rows_there_is_no_sweep(client: Http, settings: Settings) -> None:
    unsplit = upload(client, settings, table(), splits=json.dumps({"train": 0.8, "validation": 0.0, "test": 0.2}))
    answer = client.post("/v1/jobs", json=sweep(unsplit))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"] == ["body", "base", "heads", 0, "target"]
    assert "no validation row" in answer.json()["detail"]
    pretraining = {"kind": "pretraining", "dataset": unsplit}
    body = {"kind": "sweep", "base": pretraining, "space": {"training.optimizer.lr": LR}}
    assert client.post("/v1/jobs", json=body).json()["errors"][0]["loc"] == ["body", "base", "dataset"]
