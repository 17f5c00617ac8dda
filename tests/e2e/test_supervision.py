"""What a supervisor does with its trainer: pauses it, ends it in time, and tells how it died."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork import Graftwork
from tests.support.jobs import endings
from tests.support.servers import HANGS, QUICK, Service, service, wait_until
from worker.attempt.exit_codes import DEVICE_LOST

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
ENDLESS = {"steps": 1_000_000, "batch_size": 32, "checkpoint_steps": 200, "seed": 3}
LONG = {"steps": 1500, "batch_size": 32, "checkpoint_steps": 200, "seed": 3}
NETWORK: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [128, 64]}, "method": {"kind": "autoencoder"}}


@pytest.fixture
def unlabelled(graftwork: Graftwork, digits: Digits) -> str:
    return str(graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"])


def begun(graftwork: Graftwork, dataset: str, training: dict[str, int] = LONG, **fields: Any) -> str:
    job = graftwork.jobs.create(kind="pretraining", dataset=dataset, **NETWORK, training=training, **fields)["id"]
    wait_until(lambda: (graftwork.jobs.get(job)["progress"] or {"step": 0})["step"] > 0, "it has begun")
    return str(job)


@pytest.mark.slow
def test_a_paused_job_frees_its_worker_and_goes_on_when_asked(graftwork: Graftwork, unlabelled: str) -> None:
    job = begun(graftwork, unlabelled)
    assert graftwork.jobs.pause(job)["status"] == "pausing"
    wait_until(lambda: graftwork.jobs.get(job)["status"] == "paused", "it is paused")
    other = graftwork.jobs.create(kind="pretraining", dataset=unlabelled, **NETWORK, training={"steps": 5})
    assert graftwork.jobs.wait(other["id"], timeout=HANGS)["status"] == "succeeded"
    assert graftwork.jobs.get(job)["status"] == "paused"
    graftwork.jobs.resume(job)
    done = graftwork.jobs.wait(job, timeout=HANGS)
    assert (done["attempt"], endings(graftwork, job)) == (1, [("paused", False), ("succeeded", True)])
    resumed = [one["data"]["step"] for one in graftwork.jobs.events(job) if one["type"] == "job.running"]
    assert resumed[0] == 0 < resumed[1]


def test_a_job_that_runs_too_long_stops_at_a_checkpoint(graftwork: Graftwork, unlabelled: str) -> None:
    job = begun(graftwork, unlabelled, resources={"max_seconds": 1.0})
    done = graftwork.jobs.wait(job, check=False, timeout=HANGS)
    assert (done["status"], done["error"]["code"], done["outputs"]) == ("failed", "time_limit", [])
    assert endings(graftwork, job) == [("time_limit", True)]
    assert graftwork.jobs.checkpoints(job)["data"][0]["step"] == done["progress"]["step"] < LONG["steps"]


@pytest.mark.slow
def test_a_trainer_that_does_nothing_any_more_is_replaced(
    running: Service, graftwork: Graftwork, unlabelled: str
) -> None:
    job = begun(graftwork, unlabelled)
    running.trainer(job).suspend()
    assert graftwork.jobs.wait(job, timeout=HANGS)["attempt"] == 2
    assert endings(graftwork, job) == [("stalled", True), ("succeeded", True)]


@pytest.mark.slow
def test_a_kill_for_memory_is_told_from_another(running: Service, graftwork: Graftwork, unlabelled: str) -> None:
    job = begun(graftwork, unlabelled, ENDLESS)
    memory_events = Path(running.environment["GRAFTWORK_MEMORY_EVENTS"])
    memory_events.write_text(memory_events.read_text().replace("oom_kill 0", "oom_kill 1"))
    running.trainer(job).kill()
    wait_until(lambda: len(graftwork.jobs.attempts(job)) > 1, "the next attempt")
    running.trainer(job).kill()
    wait_until(lambda: len(graftwork.jobs.attempts(job)) > 2, "the attempt after it")
    graftwork.jobs.cancel(job)
    assert [ending for ending, _ in endings(graftwork, job)[:2]] == ["out_of_memory", "died"]


@pytest.mark.slow
def test_a_hanging_trainer_shows_where_and_a_lost_device_is_no_fault_of_the_job(tmp_path: Path, digits: Digits) -> None:
    """Asleep in its third step; then, in its next life, gone with the code of a lost GPU at its first checkpoint."""
    once = tmp_path / "once"
    once.mkdir()
    asked = f"training.step=sleep:600@3 checkpoint.stored=exit:{DEVICE_LOST}"
    with (
        service(tmp_path, **QUICK, failpoints=asked, failpoints_once=once) as running,
        running.up().client() as graftwork,
    ):
        dataset = graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"]
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset, **NETWORK, training=LONG)["id"]
        wait_until((once / "checkpoint.stored").exists, "the second life is over")
        wait_until(lambda: graftwork.jobs.get(job)["status"] == "queued", "it is queued again")
        assert endings(graftwork, job) == [("stalled", True), ("device_lost", False)]
        assert graftwork.jobs.get(job)["attempt"] == 1
        (stalled,) = [event for event in graftwork.jobs.events(job) if event["type"] == "attempt.stalled"]
        assert "failpoints.py" in stalled["data"]["stacks"]
        assert "worker/jobs/training.py" in stalled["data"]["stacks"]


def test_a_worker_signs_in_so_that_jobs_know_what_they_wait_for(graftwork: Graftwork, unlabelled: str) -> None:
    job = graftwork.jobs.create(kind="pretraining", dataset=unlabelled, resources={"device": "cuda"})["id"]
    wait_until(lambda: "cuda" in (graftwork.jobs.get(job)["waiting_for"] or ""), "it says what it waits for")
    assert graftwork.jobs.cancel(job)["status"] == "cancelled"
