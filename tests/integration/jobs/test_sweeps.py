"""Sweeps: trials as jobs, one worker for both, pruning and ranking."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db.session import Database
from app.db.tables import JobRow, TrialRow
from app.jobs import lease as leases
from app.jobs.states import TERMINAL
from app.queue import MemoryQueue
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.sweeps import (
    BASE_TRAINING,
    LR,
    SPACE,
    base,
    events_of,
    job_of,
    run_one,
    submit,
    sweep,
    table,
    trials_of,
    tried,
    upload,
    weights,
)
from tests.support.work import run_jobs
from worker.attempt.drain import Draining
from worker.process import runner

pytestmark = pytest.mark.one_database


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    return upload(client, settings, table())


@pytest.mark.parametrize("algorithm", ["random", "tpe", "successive_halving"])
def test_a_sweep_ranks_its_trials_and_registers_the_best(
    client: Http, settings: Settings, database: Database, dataset: str, algorithm: str
) -> None:
    more = {"startup_trials": 2} if algorithm == "tpe" else {}
    job = submit(client, sweep(dataset, algorithm={"kind": algorithm, **more}, name="found"))
    assert run_jobs(settings) == 1 + 4  # the sweep's first turn, and the trials, which take its further ones
    done = job_of(client, job)
    assert done["status"] == "succeeded", done["error"]
    assert (done["progress"]["fraction"], done["attempt"], done["links"]["trials"]) == (1, 1, f"/v1/jobs?sweep={job}")
    found = done["metrics"]
    assert (found["metric"], found["direction"], found["best"]) == ("val/accuracy", "maximize", found["trials"][0])
    assert sorted(line["trial"] for line in found["trials"]) == [0, 1, 2, 3]
    ended = [line for line in found["trials"] if line["status"] == "succeeded"]
    assert found["trials"][: len(ended)] == ended
    assert [line["metric"] for line in ended] == sorted((line["metric"] for line in ended), reverse=True)
    assert found["measured"]["split"] == "test"

    trials = {trial["id"]: trial for trial in trials_of(client, job)}
    assert [trial["name"] for trial in trials.values()] == [f"found-trial-{number}" for number in range(4)]
    for line in found["trials"]:
        trial = trials[line["job"]]
        assert (trial["status"], trial["sweep"], trial["outputs"]) == (line["status"], job, [])
        if line["status"] == "succeeded":
            assert trial["metrics"]["split"] == "validation"
            assert trial["metrics"]["heads"]["label"]["accuracy"] == line["metric"]
        assert "test" not in json.dumps(trial["metrics"])
    (output,) = done["outputs"]
    models = client.get("/v1/models?view=full").json()["data"]
    assert [(model["id"], model["name"], model["version"]) for model in models] == [(output["model"], "found", 1)]
    assert models[0]["metrics"] == found["measured"]
    with database.reading() as session:
        assert not any(session.scalars(select(TrialRow.candidate)))  # nothing holds the other trials' files any more
    answer = client.post("/v1/models/found/predictions", json={"inputs": [{"a": 1, "b": 0, "c": 0, "d": 0}]})
    assert answer.status_code == 200, answer.text


def test_a_trials_config_is_the_bases_with_its_values(client: Http, settings: Settings, dataset: str) -> None:
    job = submit(client, sweep(dataset))
    run_jobs(settings)
    done = job_of(client, job)
    configs = {trial["id"]: trial["config"] for trial in trials_of(client, job)}
    for line in done["metrics"]["trials"]:
        values = line["values"]
        assert set(values) == set(SPACE)
        assert 1e-4 <= values["training.optimizer.lr"] <= 1e-1
        assert values["training.batch_size"] in range(8, 33)
        training = {**BASE_TRAINING, "batch_size": values["training.batch_size"]}
        training["optimizer"] = {"kind": "adamw", "lr": values["training.optimizer.lr"]}
        wanted = base(dataset, training=training, strategy={"kind": values["strategy.kind"]})
        alone = submit(client, wanted)
        assert job_of(client, alone)["config"] == configs[line["job"]]
        client.post(f"/v1/jobs/{alone}/cancel")
    assert len({json.dumps(line["values"]) for line in done["metrics"]["trials"]}) == 4


def test_the_best_model_is_the_one_that_its_request_alone_would_have_made(
    client: Http, settings: Settings, dataset: str
) -> None:
    job = submit(client, sweep(dataset, trials=2, space={"training.optimizer.lr": LR}))
    run_jobs(settings)
    done = job_of(client, job)
    optimizer = {"kind": "adamw", "lr": done["metrics"]["best"]["values"]["training.optimizer.lr"]}
    alone = submit(client, base(dataset, training={**BASE_TRAINING, "optimizer": optimizer}))
    run_jobs(settings)
    assert weights(client, alone) == weights(client, job)
    assert job_of(client, alone)["metrics"] == done["metrics"]["measured"]


def test_a_pretraining_is_swept_by_its_loss(client: Http, settings: Settings, dataset: str) -> None:
    network = {"backbone": {"kind": "mlp", "hidden": [8]}, "method": {"kind": "autoencoder"}}
    pretraining = {"kind": "pretraining", "dataset": dataset, **network}
    body = {"kind": "sweep", "base": {**pretraining, "training": BASE_TRAINING}, "trials": 3}
    hidden = {"backbone.hidden": {"kind": "choice", "values": [[4], [8, 4]]}, "training.optimizer.lr": LR}
    job = submit(client, {**body, "space": hidden})
    run_jobs(settings)
    done = job_of(client, job)
    assert done["status"] == "succeeded", done["error"]
    assert (done["metrics"]["metric"], done["metrics"]["direction"]) == ("val/loss", "minimize")
    measured = [line["metric"] for line in done["metrics"]["trials"]]
    assert measured == sorted(measured)
    assert client.get(f"/v1/models/{done['outputs'][0]['model']}").json()["kind"] == "backbone"
    refused = client.post("/v1/jobs", json={**body, "space": {"method.regularizer": {"kind": "choice", "values": []}}})
    assert refused.status_code == 422
    l2 = [{"kind": "l2", "strength": strength} for strength in (1e-4, 1e-2)]
    refused = client.post("/v1/jobs", json={**body, "space": {"method.regularizer": {"kind": "choice", "values": l2}}})
    assert refused.json()["errors"][0]["loc"] == ["body", "metric"]


# ---- waiting and cancelling -----------------------------------------------------------------------------------------


def test_a_waiting_sweep_holds_no_worker_and_says_what_it_waits_for(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    job = submit(client, sweep(dataset, parallel=2))
    assert run_one(settings, database) == job
    waiting = job_of(client, job)
    assert (waiting["status"], waiting["phase"], waiting["queue_position"]) == ("queued", "waiting for trials", None)
    assert (waiting["progress"]["step"], waiting["progress"]["total_steps"], waiting["attempt"]) == (0, 4, 0)
    first, second = trials_of(client, job)
    assert run_one(settings, database) == first["id"]
    assert len(trials_of(client, job)) == 3  # one has ended, so that a third could begin
    assert run_one(settings, database) == second["id"]
    run_jobs(settings)
    assert job_of(client, job)["status"] == "succeeded"
    assert [event["type"] for event in events_of(client, job)] == [
        "job.queued", "attempt.started", "sweep.trial", "sweep.trial", "sweep.trial", "sweep.trial",
        "job.running", "job.finalizing", "job.succeeded",
    ]  # fmt: skip


def test_a_waiting_sweep_rings_for_nobody(client: Http, settings: Settings, database: Database, dataset: str) -> None:
    job = submit(client, sweep(dataset))
    run_one(settings, database)
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.sweep_id == job).values(status="running"))
        session.execute(update(JobRow).values(queued_at=0.0))
        assert not leases.waiting(session, 5)
        assert leases.claim(session, "nobody", 60) is None
        session.execute(update(JobRow).where(JobRow.sweep_id == job).values(status="failed"))
        assert leases.waiting(session, 5)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_cancelling_a_sweep_cancels_its_trials_and_publishes_nothing(
    client: Http, settings: Settings, database: Database, dataset: str, turns: int
) -> None:
    job = submit(client, sweep(dataset, parallel=2))
    for _ in range(turns):
        run_one(settings, database)
    with database.writing() as session:
        held = leases.claim(session, "elsewhere", 60) if turns == 1 else None
    assert client.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelled"
    if held is not None:
        assert job_of(client, held.job_id)["status"] == "cancelling"
        with database.writing() as session:
            leases.abandon(session, held, 3, "gone")
    assert run_jobs(settings) == 0
    done = job_of(client, job)
    assert (done["status"], done["outputs"]) == ("cancelled", [])
    assert {trial["status"] for trial in trials_of(client, job)} <= {"cancelled", "succeeded"}
    assert client.get("/v1/models").json()["data"] == []
    with database.reading() as session:
        assert not any(session.scalars(select(TrialRow.candidate)))


def test_a_sweep_that_is_cancelled_in_its_turn_ends(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    job = submit(client, sweep(dataset))
    with database.writing() as session:
        lease = leases.claim(session, "one", 60)
    assert lease is not None
    assert client.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelling"
    runner.run(lease, Draining(), settings)
    assert job_of(client, job)["status"] == "cancelled"
    assert trials_of(client, job) == []


def test_a_cancelled_trial_does_not_end_the_sweep(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    job = submit(client, sweep(dataset))
    run_one(settings, database)
    (first,) = trials_of(client, job)
    client.post(f"/v1/jobs/{first['id']}/cancel")
    run_jobs(settings)
    done = job_of(client, job)
    assert done["status"] == "succeeded"
    assert [line["status"] for line in done["metrics"]["trials"]] == ["succeeded"] * 3 + ["cancelled"]
    assert not done["metrics"]["trials"][-1]["pruned"]


# ---- failing --------------------------------------------------------------------------------------------------------

WILD = {"optimizer": {"kind": "sgd", "momentum": 0}, "schedule": {"kind": "constant"}, "steps": 60, "batch_size": 16}


def wild(dataset: str, rates: list[float]) -> dict[str, Any]:
    network = {"backbone": {"kind": "mlp", "hidden": [8]}, "method": {"kind": "autoencoder"}}
    pretraining = {"kind": "pretraining", "dataset": dataset, **network}
    space = {"training.optimizer.lr": {"kind": "choice", "values": rates}}
    return {"kind": "sweep", "base": {**pretraining, "training": WILD}, "space": space, "trials": 6, "seed": 1}


def test_a_trial_that_diverges_does_not_end_the_sweep(client: Http, settings: Settings, dataset: str) -> None:
    job = submit(client, wild(dataset, [100.0, 0.001]))
    run_jobs(settings)
    done = job_of(client, job)
    assert done["status"] == "succeeded", done["error"]
    lines = done["metrics"]["trials"]
    assert {line["values"]["training.optimizer.lr"]: line["status"] for line in lines} == {
        0.001: "succeeded",
        100.0: "failed",
    }
    assert [line["status"] for line in lines] == sorted((line["status"] for line in lines), reverse=True)
    assert "finite" in lines[-1]["error"]


def test_a_sweep_of_which_all_trials_fail_fails_in_words(client: Http, settings: Settings, dataset: str) -> None:
    job = submit(client, wild(dataset, [100.0, 99.0, 98.0]))
    run_jobs(settings)
    done = job_of(client, job)
    assert (done["status"], done["error"]["code"], done["outputs"]) == ("failed", "no_trial_succeeded", [])
    assert "None of the 3 trials succeeded." in done["error"]["message"]
    assert "training.optimizer.lr" in done["error"]["message"]


def test_a_metric_that_nobody_measures_is_named(client: Http, settings: Settings, dataset: str) -> None:
    body = sweep(dataset, trials=2, metric="val/beauty", direction="maximize", space={"training.optimizer.lr": LR})
    job = submit(client, body)
    run_jobs(settings)
    message = job_of(client, job)["error"]["message"]
    assert "val/beauty was not measured" in message
    assert "val/accuracy" in message


def test_values_that_do_not_go_together_are_a_failed_trial(client: Http, settings: Settings, dataset: str) -> None:
    """Both ends fit beside the first value of the other field, and still not every pair does."""
    optimizer = {"kind": "sgd", "lr": 0.01, "nesterov": True}
    space = {
        "training.optimizer.nesterov": {"kind": "choice", "values": [False, True]},
        "training.optimizer.momentum": {"kind": "choice", "values": [0.5, 0.0]},
    }
    body = sweep(dataset, trials=12, space=space)
    body["base"]["training"] = {**BASE_TRAINING, "epochs": 1, "optimizer": optimizer}
    job = submit(client, body)
    run_jobs(settings)
    done = job_of(client, job)
    assert done["status"] == "succeeded", done["error"]
    bad = {"training.optimizer.nesterov": True, "training.optimizer.momentum": 0.0}
    lines = done["metrics"]["trials"]
    assert len(lines) == 4
    assert len({str(sorted(line["values"].items())) for line in lines}) == 4
    (decision,) = [decision for decision in done["config"]["decisions"] if decision["field"] == "trials"]
    assert (decision["value"], "4 combinations" in decision["reason"]) == (4, True)
    for line in lines:
        assert line["status"] == ("failed" if line["values"] == bad else "succeeded")
    assert "momentum" in lines[-1]["error"]


def test_many_refused_trials_are_no_long_transaction(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    space = {
        "training.optimizer.nesterov": {"kind": "choice", "values": [False, *[True] * 49]},
        "training.optimizer.momentum": {"kind": "choice", "values": [0.5, *[0.0] * 49]},
        "training.seed": {"kind": "integer", "low": 0, "high": 1_000_000},  # more combinations than can be listed
    }
    body = sweep(dataset, trials=80, space=space)
    body["base"]["training"] = {**BASE_TRAINING, "epochs": 1, "optimizer": {"kind": "sgd", "lr": 0.01}}
    job = submit(client, body)
    most, before = 0, 0
    while run_one(settings, database) is not None:
        now = len(trials_of(client, job))
        most, before = max(most, now - before), now
    assert 16 < most <= 32
    assert job_of(client, job)["status"] == "succeeded"
    assert before == 80


# ---- pruning --------------------------------------------------------------------------------------------------------


def test_successive_halving_prunes_and_says_why(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    halving = {"kind": "successive_halving", "min_epochs": 1, "reduction_factor": 2}
    lr = {"kind": "choice", "values": [1e-7, 2e-7, 5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 0.05]}
    body = sweep(
        dataset, trials=8, algorithm=halving, metric="val/loss", space={"training.optimizer.lr": lr}, name="halved"
    )
    body["base"]["training"] = {**BASE_TRAINING, "epochs": 6, "schedule": {"kind": "constant"}}
    job = submit(client, body)
    run_jobs(settings)
    done = job_of(client, job)
    assert done["status"] == "succeeded", done["error"]
    lines = done["metrics"]["trials"]
    pruned = [line for line in lines if line["pruned"]]
    assert pruned
    assert lines == [line for line in lines if not line["pruned"]] + pruned
    assert all(line["status"] == "cancelled" and line["metric"] is not None for line in pruned)
    assert done["metrics"]["best"]["values"]["training.optimizer.lr"] == 0.05
    for line in pruned:
        assert line["values"]["training.optimizer.lr"] < 0.05
        (told,) = [event for event in events_of(client, line["job"]) if event["type"] == "trial.pruned"]
        assert re.search(r"After \d epochs val/loss is .* 1 / 2 of the \d trials", told["message"])
        epochs = [point["epoch"] for point in client.get(f"/v1/jobs/{line['job']}/metrics").json()["data"]]
        assert max(epochs) + 1 == told["data"]["epoch"] < 6
        assert job_of(client, line["job"])["outputs"] == []
    assert [model["name"] for model in client.get("/v1/models").json()["data"]] == ["halved"]
    with database.reading() as session:
        rungs = {row.job_id: row.rungs for row in session.scalars(select(TrialRow))}
    assert all(len(rungs[line["job"]]) == 3 for line in lines if not line["pruned"])  # after 1, 2 and 4 epochs


def test_several_workers_share_a_sweep_and_make_no_trial_twice(client: Http, settings: Settings, dataset: str) -> None:
    """Threads stand for workers: what they train is not repeatable then, but the rows must be right."""
    job = submit(client, sweep(dataset, trials=10, parallel=3))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while job_of(client, job)["status"] not in TERMINAL:
                run_jobs(settings)
        except BaseException as error:
            failures.append(error)
            raise

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    done = job_of(client, job)
    assert done["status"] == "succeeded", done["error"]
    assert sorted(line["trial"] for line in done["metrics"]["trials"]) == list(range(10))
    told = [event["data"]["trial"] for event in events_of(client, job) if event["type"] == "sweep.trial"]
    assert told == list(range(10))
    trials = trials_of(client, job)
    assert len(trials) == 10
    starts = [event["created_at"] for trial in trials for event in events_of(client, trial["id"])[1:2]]
    ends = [trial["finished_at"] for trial in trials]
    under_way = [sum(start <= at for start in starts) - sum(end < at for end in ends) for at in starts]
    assert max(under_way) <= 3


def test_the_same_seed_gives_the_same_sweep_and_another_another(client: Http, settings: Settings, dataset: str) -> None:
    jobs = [submit(client, sweep(dataset, seed=seed, trials=2)) for seed in (1, 1, 2)]
    run_jobs(settings)
    first, second, third = (tried(job_of(client, job)) for job in jobs)
    assert first == second
    assert first != third


def test_projects_do_not_see_each_others_sweeps(
    client: Http, app: Any, make_key: MakeKey, settings: Settings, dataset: str, queue: MemoryQueue
) -> None:
    job = submit(client, sweep(dataset, trials=1))
    run_jobs(settings)
    other = Http(app, make_key("other"))
    assert len(trials_of(client, job)) == 1
    assert trials_of(other, job) == []
    assert other.get(f"/v1/jobs/{job}").status_code == 404
    assert other.post(f"/v1/jobs/{job}/cancel").status_code == 404
    assert other.post("/v1/jobs", json=sweep(dataset)).status_code == 404


def test_the_request_of_the_documentation_runs(client: Http, settings: Settings, dataset: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    body = json.loads(page.split("```json")[1].split("```")[0].replace("ds_...", dataset))
    job = submit(client, {**body, "trials": 2})
    run_jobs(settings)
    assert job_of(client, job)["status"] == "succeeded", job_of(client, job)["error"]
