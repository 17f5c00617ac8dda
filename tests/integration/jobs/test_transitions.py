"""Pause, resume, retry, extend, priorities, time limits and attempts: the states, and real trainings."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from app.db.session import Database
from app.db.tables import JobRow, WorkerRow
from app.jobs import lease as leases
from app.jobs import workers
from app.jobs.attempts import Lease
from app.jobs.lease import PausingError
from app.settings import Settings
from tests.support.http import Http
from tests.support.servers import wait_until
from tests.support.work import run_jobs
from worker.attempt.drain import Draining, StopReason
from worker.attempt.exit_codes import RANK_OUT_OF_MEMORY
from worker.process import runner
from worker.process.heartbeat import TrainerExit
from worker.process.postmortem import record_death

TRAINING: dict[str, Any] = {"steps": 12, "batch_size": 16, "seed": 1, "schedule": {"kind": "constant"}}
LONG = {**TRAINING, "steps": 1500}
PAUSES = ("pausing", "paused")
SQLITE = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    rng = np.random.default_rng(0)
    rows = "\n".join(",".join(f"{value:.4f}" for value in row) for row in rng.normal(size=(60, 4)))
    file = ("rows.csv", f"a,b,c,d\n{rows}\n".encode())
    answer = client.post("/v1/datasets", files={"file": file}, data={"name": "rows"})
    run_jobs(settings)
    return str(answer.json()["id"])


def submit(client: Http, dataset: str, **fields: Any) -> str:
    small = {"kind": "mlp", "hidden": [8]}
    body = {"kind": "pretraining", "dataset": dataset, "backbone": small, "training": TRAINING, **fields}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def ask(client: Http, job: str, what: str, expect: int = 202, **fields: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/jobs/{job}/{what}", **fields)
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


def look(client: Http, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
    return found


def attempts(client: Http, job: str) -> list[tuple[int, str | None, bool]]:
    rows = client.get(f"/v1/jobs/{job}/attempts").json()["data"]
    return [(row["number"], row["ending"], row["charged"]) for row in rows]


def types(client: Http, job: str) -> list[str]:
    return [event["type"] for event in client.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]]


def weights(client: Http, job: str) -> str:
    (output,) = look(client, job)["outputs"]
    files = client.get(f"/v1/models/{output['model']}").json()["files"]
    return str(next(file["sha256"] for file in files if file["name"] == "backbone.safetensors"))


def take(database: Database, seconds: float = 60, **options: Any) -> Lease:
    with database.writing() as session:
        lease = leases.claim(session, "w1", seconds, **options)
    assert lease is not None
    return lease


def stop_midway(client: Http, settings: Settings, database: Database, job: str, reason: StopReason) -> None:
    """One attempt that trains some steps and is then asked to stop, as its supervisor does."""
    draining, lease = Draining(), take(database)
    trainer = threading.Thread(target=runner.run, args=(lease, draining, settings))
    trainer.start()
    wait_until(lambda: (look(client, job)["progress"] or {"step": 0})["step"] > 0, "it trains")
    if reason == "pause":
        assert ask(client, job, "pause")["status"] == "pausing"
        assert ask(client, job, "pause")["status"] == "pausing"
        assert ask(client, job, "resume", 409)["code"] == "job_is_pausing"
    draining.ask(reason)
    trainer.join()


def test_a_job_paused_in_its_training_goes_on_as_if_nothing_had_been(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    undisturbed = submit(client, dataset, training=LONG)
    run_jobs(settings)
    job = submit(client, dataset, training=LONG)
    stop_midway(client, settings, database, job, "pause")
    paused = look(client, job)
    assert (paused["status"], paused["attempt"], paused["queue_position"]) == ("paused", 0, None)
    assert 0 < paused["progress"]["step"] < LONG["steps"]
    assert run_jobs(settings) == 0
    assert ask(client, job, "resume")["status"] == "queued"
    run_jobs(settings)
    assert attempts(client, job) == [(1, "paused", False), (2, "succeeded", True)]
    assert weights(client, job) == weights(client, undisturbed)
    told = [one for one in types(client, job) if one.startswith("job.p") or one == "job.resumed"]
    assert told == ["job.pausing", "job.paused", "job.resumed"]


def test_a_queued_job_is_paused_at_once_and_may_be_cancelled(client: Http, settings: Settings, dataset: str) -> None:
    job = submit(client, dataset)
    assert ask(client, job, "pause")["status"] == "paused"
    assert run_jobs(settings) == 0
    assert ask(client, job, "cancel")["status"] == "cancelled"
    assert ask(client, job, "pause", 409)["code"] == "job_has_ended"
    assert ask(client, job, "resume", 409)["code"] == "job_has_ended"


def test_nothing_is_begun_of_a_job_that_is_to_pause(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    job = submit(client, dataset)
    lease = take(database)
    ask(client, job, "pause")
    with pytest.raises(PausingError), database.writing() as session:
        leases.move(session, lease, "running")
    runner.run(lease, Draining(), settings)
    assert look(client, job)["status"] == "paused"
    assert "checkpoint.saved" not in types(client, job)


def test_a_job_that_is_about_to_end_ends(client: Http, database: Database, dataset: str) -> None:
    job = submit(client, dataset)
    lease = take(database)
    with database.writing() as session:
        leases.move(session, lease, "running")
    ask(client, job, "pause")
    with database.writing() as session:
        leases.move(session, lease, "finalizing")
    assert ask(client, job, "pause", 409)["code"] == "job_is_ending"
    with database.writing() as session:
        leases.finish(session, lease, "succeeded", "Done.")
    assert look(client, job)["status"] == "succeeded"


def test_a_job_whose_worker_dies_while_pausing_is_paused(client: Http, database: Database, dataset: str) -> None:
    job = submit(client, dataset)
    take(database, seconds=0.01)
    ask(client, job, "pause")
    time.sleep(0.05)
    with database.writing() as session:
        leases.sweep(session, 3)
    assert look(client, job)["status"] == "paused"
    assert attempts(client, job) == [(1, "silent", True)]


def test_a_pausing_job_can_be_cancelled(client: Http, settings: Settings, database: Database, dataset: str) -> None:
    job = submit(client, dataset)
    lease = take(database)
    ask(client, job, "pause")
    assert ask(client, job, "cancel")["status"] == "cancelling"
    runner.run(lease, Draining(), settings)
    assert look(client, job)["status"] == "cancelled"


def test_a_sweep_pauses_and_goes_on_with_its_trials(client: Http, settings: Settings, dataset: str) -> None:
    base = {"kind": "pretraining", "dataset": dataset, "backbone": {"kind": "mlp", "hidden": [8]}, "training": TRAINING}
    rates = {"training.optimizer.lr": {"kind": "choice", "values": [0.01, 0.001]}}
    body = {"kind": "sweep", "base": base, "trials": 2, "space": rates}
    sweep = client.post("/v1/jobs", json=body).json()["id"]
    database = Database(settings.sql_url)
    runner_lease = take(database)
    runner.run(runner_lease, Draining(), settings)  # its first turn adds a trial
    (trial,) = [row["id"] for row in client.get(f"/v1/jobs?sweep={sweep}").json()["data"]]
    assert ask(client, sweep, "pause")["status"] == "paused"
    assert look(client, trial)["status"] == "paused"
    assert run_jobs(settings) == 0
    ask(client, sweep, "resume")
    assert look(client, trial)["status"] == "queued"
    run_jobs(settings)
    assert look(client, sweep)["status"] == "succeeded"
    database.close()


@SQLITE
def test_a_sweep_is_paused_once_its_trials_are(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    base = {"kind": "pretraining", "dataset": dataset, "backbone": {"kind": "mlp", "hidden": [8]}, "training": TRAINING}
    rates = {"training.optimizer.lr": {"kind": "log_uniform", "low": 0.001, "high": 0.01}}
    body = {"kind": "sweep", "base": base, "trials": 2, "parallel": 2, "space": rates}
    sweep = client.post("/v1/jobs", json=body).json()["id"]
    runner.run(take(database), Draining(), settings)
    first, second = take(database), take(database)
    for lease in (first, second):
        with database.writing() as session:
            leases.move(session, lease, "running")
    assert ask(client, sweep, "pause")["status"] == "pausing"
    assert look(client, sweep)["status"] == "pausing"
    assert ask(client, sweep, "resume", 409)["code"] == "job_is_pausing"
    with database.writing() as session:
        leases.requeue(session, first, "Asked to.", charged=False)
    assert look(client, sweep)["status"] == "pausing"
    listed = {status: client.get(f"/v1/jobs?kind=sweep&status={status}").json()["data"] for status in PAUSES}
    assert [len(listed[status]) for status in PAUSES] == [1, 0]
    assert types(client, sweep)[-1] == "job.pausing"
    with database.writing() as session:
        leases.move(session, second, "finalizing")  # it was about to end, and ends
    assert look(client, sweep)["status"] == "paused"
    assert types(client, sweep)[-1] == "job.paused"
    with database.writing() as session:
        leases.finish(session, second, "failed", "It failed.")
    assert types(client, sweep).count("job.paused") == 1
    assert ask(client, sweep, "resume")["status"] == "queued"


def test_a_job_runs_no_longer_than_it_may_and_a_retry_goes_on(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    job = submit(client, dataset, training=LONG, resources={"max_seconds": 100.0})
    stop_midway(client, settings, database, job, "time_limit")
    failed = look(client, job)
    assert (failed["status"], failed["error"]["code"], failed["error"]["category"]) == ("failed", "time_limit", "user")
    assert failed["error"]["param"] == "resources.max_seconds"
    assert ask(client, job, "retry")["status"] == "queued"
    assert (look(client, job)["error"], look(client, job)["finished_at"]) == (None, None)
    run_jobs(settings)
    assert attempts(client, job) == [(1, "time_limit", True), (2, "succeeded", True)]
    running = [
        one["data"]["step"] for one in client.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
        if one["type"] == "job.running"
    ]  # fmt: skip
    assert running[0] == 0
    assert running[1] > 0


def test_a_cancelled_job_can_be_retried_and_a_succeeded_one_cannot(
    client: Http, settings: Settings, dataset: str
) -> None:
    job = submit(client, dataset)
    ask(client, job, "cancel")
    assert ask(client, job, "retry")["status"] == "queued"
    run_jobs(settings)
    assert look(client, job)["status"] == "succeeded"
    assert ask(client, job, "retry", 409)["code"] == "job_has_ended"


def test_a_failed_preparation_can_be_retried(client: Http, settings: Settings, database: Database) -> None:
    file = ("rows.csv", b"a,b\n1,2\n3,4\n5,6\n")
    made = client.post("/v1/datasets", files={"file": file}, data={"name": "rows"}).json()
    ask(client, made["job"], "cancel")
    assert client.get(f"/v1/datasets/{made['id']}").json()["status"] == "failed"
    ask(client, made["job"], "retry")
    assert client.get(f"/v1/datasets/{made['id']}").json()["status"] == "preparing"
    run_jobs(settings)
    assert client.get(f"/v1/datasets/{made['id']}").json()["status"] == "ready"


def test_an_extended_training_is_the_longer_one(client: Http, settings: Settings, dataset: str) -> None:
    whole = submit(client, dataset, training={**TRAINING, "steps": 20})
    short = submit(client, dataset)
    run_jobs(settings)
    more = ask(client, short, "extend", json={"steps": 8})
    assert (more["extends"], more["config"]["training"]["steps"], more["status"]) == (short, 20, "queued")
    run_jobs(settings)
    done = look(client, more["id"])
    assert done["status"] == "succeeded"
    assert weights(client, more["id"]) == weights(client, whole) != weights(client, short)
    model = client.get(f"/v1/models/{done['outputs'][0]['model']}").json()
    assert model["version"] == 3
    assert [one["step"] for one in client.get(f"/v1/jobs/{short}/checkpoints").json()["data"]] == [12]


def test_what_cannot_be_extended_says_why(client: Http, settings: Settings, dataset: str) -> None:
    job = submit(client, dataset)
    assert ask(client, job, "extend", 409, json={"steps": 8})["code"] == "cannot_extend"
    run_jobs(settings)
    wrong = ask(client, job, "extend", 422, json={"epochs": 1})
    assert wrong["errors"][0]["loc"] == ["body", "steps"]
    assert ask(client, job, "extend", 422, json={})["code"] == "invalid_request"
    assert ask(client, job, "extend", 422, json={"steps": 0})["code"] == "invalid_request"


@SQLITE
def test_heads_that_were_solved_for_are_not_extended(client: Http, settings: Settings) -> None:
    rows = "\n".join(f"{value},{value % 7},{'ab'[value % 2]}" for value in range(60))
    file = ("rows.csv", f"x,y,label\n{rows}\n".encode())
    made = client.post("/v1/datasets", files={"file": file}, data={"name": "rows", "columns": '{"label": "target"}'})
    run_jobs(settings)
    for strategy in ({"kind": "linear_probe"}, {"kind": "automatic", "candidates": ["linear_probe"]}):
        heads = [{"kind": "classifier", "target": "label"}]
        job = submit(client, made.json()["id"], kind="fine_tuning", heads=heads, strategy=strategy, training={})
        run_jobs(settings)
        assert look(client, job)["status"] == "succeeded"
        refused = ask(client, job, "extend", 409, json={"epochs": 5})
        assert refused["code"] == "cannot_extend"
        assert "solved for at once" in refused["detail"]


def test_higher_priorities_start_first(client: Http, database: Database, dataset: str) -> None:
    first, urgent = submit(client, dataset), submit(client, dataset, priority=5)
    assert [look(client, job)["queue_position"] for job in (first, urgent)] == [1, 0]
    assert take(database).job_id == urgent


def test_only_a_worker_with_the_device_takes_a_job_and_it_says_what_it_waits_for(
    client: Http, database: Database, dataset: str
) -> None:
    job = submit(client, dataset, resources={"device": "cuda"})
    assert (look(client, job)["waiting_for"] or "").startswith("A worker: none")
    with database.writing() as session:
        workers.sign_in(session, "here:1", {"cpu": 1})
        assert leases.claim(session, "here:1", 60, {"cpu": 1}) is None
    assert (look(client, job)["waiting_for"] or "").startswith("A worker with cuda: none")
    with database.writing() as session:
        workers.sign_in(session, "there:1", {"cpu": 1, "cuda": 1})
        workers.sign_in(session, "there:1", {"cpu": 1, "cuda": 1})
    assert look(client, job)["waiting_for"] is None
    assert take(database, devices={"cpu": 1, "cuda": 1}).job_id == job


@SQLITE
def test_a_worker_that_renews_a_lease_is_there_however_long_ago_it_signed_in(
    client: Http, database: Database, dataset: str
) -> None:
    """A worker that found its job by polling signs in again only when the job has ended."""
    running, waiting = submit(client, dataset), submit(client, dataset)
    with database.writing() as session:
        lease = leases.claim(session, "here:1", 60)
        session.add(WorkerRow(id="here:1", devices="cpu:1", started_at=time.time() - 900, seen_at=time.time() - 900))
    assert lease is not None
    assert lease.job_id == running
    assert look(client, waiting)["waiting_for"] is None
    with database.writing() as session:
        leases.beat(session, lease, -1.0)
    assert (look(client, waiting)["waiting_for"] or "").startswith("A worker: none")


def test_a_job_for_several_devices_waits_for_a_worker_that_has_them(
    client: Http, database: Database, dataset: str
) -> None:
    job = submit(client, dataset, resources={"devices": 2}, method={"kind": "autoencoder"}, backbone={"kind": "mlp"})
    with database.writing() as session:
        workers.sign_in(session, "here:1", {"cpu": 4, "cuda": 1})  # it would take its GPU, of which it has one
        assert leases.claim(session, "here:1", 60, {"cpu": 4, "cuda": 1}) is None
    assert look(client, job)["waiting_for"] == "A worker with 2 devices (auto): the most that one has is 1."
    with database.writing() as session:
        session.add(WorkerRow(id="old:1", devices="cpu", started_at=time.time(), seen_at=time.time()))
    assert look(client, job)["waiting_for"] == "A worker with 2 devices (auto): the most that one has is 1."
    with database.writing() as session:
        workers.sign_in(session, "there:1", {"cpu": 2})
    assert look(client, job)["waiting_for"] is None
    assert take(database, devices={"cpu": 2}).job_id == job


def test_too_little_memory_on_one_of_several_devices_is_the_requests_fault(
    client: Http, database: Database, dataset: str, settings: Settings
) -> None:
    job = submit(client, dataset)
    lease = take(database)
    with database.writing() as session:
        record_death(session, lease, TrainerExit(RANK_OUT_OF_MEMORY), settings, "")
    assert (look(client, job)["status"], look(client, job)["error"]["code"]) == ("failed", "device_memory")


def test_the_first_death_is_made_good_at_once_and_further_ones_later(
    client: Http, database: Database, dataset: str
) -> None:
    job = submit(client, dataset)

    def not_before() -> float | None:
        with database.reading() as session:
            return session.scalar(select(JobRow.not_before).where(JobRow.id == job))

    for wait in (None, 5.0):
        lease = take(database)
        with database.writing() as session:
            leases.abandon(session, lease, 4, "It died.", "died", backoff=5.0)
        found = not_before()
        assert (found is None) == (wait is None)
        if wait is not None and found is not None:
            assert wait - 2 < found - time.time() <= wait
            with database.writing() as session:
                assert leases.claim(session, "w1", 60) is None
