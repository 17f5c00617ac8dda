"""The transfer report of a fine-tuning, as its user sees it."""

from collections.abc import Callable
from typing import Any

import pytest

from app.db.session import Database
from app.jobs import lease as leases
from app.settings import Settings
from tests.integration.jobs.test_job_life import events_of, job_of, submit, upload
from tests.support.http import Http
from tests.support.work import run_jobs
from worker.attempt.attempt import Attempt
from worker.attempt.drain import Draining
from worker.process import runner

pytestmark = pytest.mark.one_database

REPORT = {"rounds": 2, "folds": 2, "measured_on": "folds", "budget_seconds": 3000}


@pytest.fixture
def labelled(client: Http, settings: Settings) -> str:
    """Two columns whose sum is the target, and two of noise; a backbone that was pretrained on them."""
    numbers = [[((row * step) % 97) / 97 - 0.5 for step in (31, 57, 11, 73)] for row in range(1, 61)]
    lines = [",".join(f"{value:.4f}" for value in (*row, row[0] + row[1])) for row in numbers]
    columns = '{"sum": "target"}'
    dataset = upload(client, settings, "a,b,c,d,sum\n" + "\n".join(lines) + "\n", columns=columns)
    submit(client, dataset, name="root")
    run_jobs(settings)
    return dataset


def asked(dataset: str, **fields: Any) -> dict[str, Any]:
    heads = [{"kind": "regressor", "target": "sum"}]
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": heads, "model": "root", "transfer_report": REPORT}
    return {**body, "strategy": {"kind": "linear_probe", "layer": "last"}, "training": {"epochs": 2}, **fields}


def fine_tune(client: Http, dataset: str, **fields: Any) -> str:
    answer = client.post("/v1/jobs", json=asked(dataset, **fields))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def run_until(settings: Settings, database: Database, monkeypatch: Any, act: Callable[[Draining], None]) -> None:
    """One attempt; `act` is called once the first round of the controls is recorded."""
    with database.writing() as session:
        lease = leases.claim(session, "test", 60)
    assert lease is not None
    draining, record_event = Draining(), Attempt.record_event

    def recorded(self: Attempt, kind: str, *rest: Any) -> None:
        record_event(self, kind, *rest)
        if kind == "transfer.round" and not draining.is_set():
            act(draining)

    with monkeypatch.context() as patched:
        patched.setattr(Attempt, "record_event", recorded)
        runner.run(lease, draining, settings)


def test_a_fine_tuning_tells_what_pretraining_is_worth(client: Http, settings: Settings, labelled: str) -> None:
    job = fine_tune(client, labelled)
    assert job_of(client, job)["config"]["transfer_report"]["measured_on"] == "folds"
    run_jobs(settings)
    found = job_of(client, job)
    assert found["status"] == "succeeded", found["error"]
    head = found["metrics"]["transfer"]["heads"]["sum"]
    assert head["verdict"] in ("no evidence", "hurts"), "the raw columns add up without any backbone"
    assert head["controls"]["raw_linear"]["score"] > 0.95
    assert {"transfer.started", "transfer.round", "transfer.judged"} <= {one["type"] for one in events_of(client, job)}
    (output,) = found["outputs"]
    assert "transfer" not in client.get(f"/v1/models/{output['model']}").json()["metrics"]


def test_a_drained_report_is_made_anew_and_the_training_is_not(
    client: Http, settings: Settings, database: Database, labelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fine_tune(client, labelled)
    run_until(settings, database, monkeypatch, Draining.set)
    assert job_of(client, job)["status"] == "queued"
    run_jobs(settings)
    found = job_of(client, job)
    assert (found["status"], found["metrics"]["transfer"]["rounds"]) == ("succeeded", 2)
    assert [one["type"] for one in events_of(client, job)].count("heads.solved") == 1


def test_controls_stop_when_their_job_is_cancelled(
    client: Http, settings: Settings, database: Database, labelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fine_tune(client, labelled)
    run_until(settings, database, monkeypatch, lambda _: client.post(f"/v1/jobs/{job}/cancel") and None)
    found = job_of(client, job)
    assert (found["status"], found["outputs"], found["metrics"]) == ("cancelled", [], None)
    assert [one["type"] for one in events_of(client, job)].count("transfer.round") == 1


def test_what_makes_no_sense_is_refused_before_it_is_queued(client: Http, settings: Settings, labelled: str) -> None:
    answer = client.post("/v1/jobs", json=asked(labelled, model=None))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "transfer_report"]
    assert "name a pretrained model" in answer.json()["detail"]
    space = {"training.epochs": {"kind": "integer", "low": 1, "high": 2}}
    sweep = client.post("/v1/jobs", json={"kind": "sweep", "base": asked(labelled), "space": space})
    assert sweep.status_code == 422
    assert sweep.json()["errors"][0]["loc"] == ["body", "base", "transfer_report"]


def test_rows_whose_labels_the_model_has_learned_cannot_be_held_out(
    client: Http, settings: Settings, labelled: str
) -> None:
    fine_tune(client, labelled, transfer_report=None, name="taught", strategy={"kind": "full"})
    run_jobs(settings)
    answer = client.post("/v1/jobs", json=asked(labelled, model="taught"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "transfer_report", "measured_on"]
    assert "learned" in answer.json()["detail"]
