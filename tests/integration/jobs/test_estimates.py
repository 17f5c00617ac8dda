"""Estimates through the API and the real runner: true, refused as the job would be, and compared with what came."""

from typing import Any

import pytest

from app.db.session import Database
from app.estimates import repository as estimates
from app.settings import Settings
from tests.integration.jobs.test_evaluations import HEADS, LABELLED, rows
from tests.integration.jobs.test_job_life import done, events_of, upload
from tests.support.http import Http
from worker.training.measured_cost import largest_batch

pytestmark = pytest.mark.one_database

PRETRAINING = {
    "kind": "pretraining",
    "backbone": {"kind": "mlp", "hidden": [256, 128]},
    "training": {"epochs": 20, "batch_size": 32},
}


@pytest.fixture
def cancer(client: Http, settings: Settings) -> str:
    return upload(client, settings, rows(), columns=LABELLED)


def test_an_estimate_tells_all_costs_and_its_error_is_kept(
    client: Http, settings: Settings, database: Database, cancer: str
) -> None:
    body = {**PRETRAINING, "dataset": cancer}
    estimate = done(client, settings, "/v1/jobs/estimate", body)
    found = estimate["metrics"]
    assert (estimate["kind"], estimate["outputs"]) == ("estimate", [])
    assert client.get("/v1/models").json()["data"] == []
    assert 0 < found["low"] <= found["seconds"] <= found["high"]
    assert found["peak_bytes"] > 50e6
    assert [one["batch_size"] for one in found["measured"]] == [32, 64, 128]
    assert 128 <= found["largest_batch"] <= 569
    with database.reading() as session:
        assert estimates.errors(session) == []
    done(client, settings, "/v1/jobs", {**body, "training": {"epochs": 21, "batch_size": 32}})
    with database.reading() as session:
        assert estimates.errors(session) == []
    job = done(client, settings, "/v1/jobs", body)
    told = {event["type"]: event["data"] for event in events_of(client, job["id"])}
    with database.reading() as session:
        (ratio,) = estimates.errors(session)
    assert f'graftwork_estimate_ratio{{quantile="0.5"}} {ratio}' in client.get("/metrics").text
    assert told["estimate.error"]["estimate"] == estimate["id"]
    assert told["estimate.error"]["ratio"] == ratio
    assert told["training.finished"]["step"] == found["total_steps"]
    assert 1 / 20 < ratio < 20, "how near it is, bench/estimate.py tells; a busy machine stalls either side for long"
    saved = client.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"][0]
    assert saved["bytes"] == pytest.approx(found["checkpoint_bytes"], rel=0.01)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_solved_fine_tuning_has_no_batches(client: Http, settings: Settings, cancer: str) -> None:
    done(client, settings, "/v1/jobs", {**PRETRAINING, "dataset": cancer, "name": "root", "training": {"epochs": 1}})
    body = {"kind": "fine_tuning", "dataset": cancer, "heads": HEADS, "model": "root"}
    solved = {**body, "strategy": {"kind": "linear_probe", "solver": "exact"}}
    found = done(client, settings, "/v1/jobs/estimate", solved)["metrics"]
    assert (found["total_steps"], found["largest_batch"]) == (1, None)
    found = done(client, settings, "/v1/jobs/estimate", {**body, "strategy": {"kind": "full"}})["metrics"]
    assert found["largest_batch"] > 0


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_what_the_job_would_be_refused_for_is_refused_alike(client: Http, settings: Settings, cancer: str) -> None:
    wrong: list[dict[str, Any]] = [
        {**PRETRAINING, "dataset": "ds_none"},
        {**PRETRAINING, "dataset": cancer, "backbone": {"kind": "convnet"}},
        {**PRETRAINING, "dataset": cancer, "training": {"epochs": 0}},
        {**PRETRAINING, "dataset": cancer, "unknown": 1},
        {"kind": "fine_tuning", "dataset": cancer, "heads": [{"kind": "classifier", "target": "none"}]},
        {"kind": "fine_tuning", "dataset": cancer, "heads": HEADS, "model": "nobody"},
    ]
    for body in wrong:
        answers = [client.post(path, json=body) for path in ("/v1/jobs", "/v1/jobs/estimate")]
        job, estimate = ({**answer.json(), "request_id": None, "instance": None} for answer in answers)
        assert answers[0].status_code in (404, 422)
        assert job == estimate


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_key_gives_one_estimate(client: Http, settings: Settings, cancer: str) -> None:
    body, headers = {**PRETRAINING, "dataset": cancer}, {"Idempotency-Key": "once"}
    first, second = (client.post("/v1/jobs/estimate", json=body, headers=headers) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    assert client.post("/v1/jobs", json=body, headers=headers).status_code in (409, 422)


def test_the_largest_batch_follows_the_steepest_piece_and_stays_in_bounds() -> None:
    assert largest_batch({10: 1000, 20: 1100, 40: 1300}, 2500, 10_000) == 110
    assert largest_batch({10: 1000, 20: 1100, 40: 1300}, 2500, 60) == 60
    assert largest_batch({10: 1000, 20: 1000}, 2500, 60) == 20
    assert largest_batch({10: 1000, 20: 1100}, 1000, 60) is None
