"""A disk without room under a training: its checkpoints wait, the last good one stays, and nothing is lost."""

import resource
from typing import Any

import numpy as np
import pytest

from graftwork import Graftwork
from tests.support.servers import HANGS, Service, wait_until

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
NETWORK: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [128, 64]}, "method": {"kind": "autoencoder"}}
TRAINING = {"steps": 2500, "batch_size": 32, "checkpoint_steps": 100, "seed": 3}
TOO_SMALL = 200_000  # bytes; a state has some 2 million


@pytest.fixture
def running(on_postgres: Service) -> Service:
    """On PostgreSQL: the limit on the trainer's files must not reach the database."""
    return on_postgres


def failures(graftwork: Graftwork, job: str) -> list[dict[str, Any]]:
    return [event["data"] for event in graftwork.jobs.events(job) if event["type"] == "checkpoint.failed"]


@pytest.mark.slow
def test_checkpoints_wait_for_room_and_a_job_that_has_none_may_be_retried(
    running: Service, graftwork: Graftwork, digits: Digits
) -> None:
    dataset = graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"]
    job = graftwork.jobs.create(kind="pretraining", dataset=dataset, **NETWORK, training=TRAINING)["id"]
    wait_until(lambda: graftwork.jobs.checkpoints(job)["data"], "its first checkpoint")
    trainer = running.trainer(job).pid
    unlimited = resource.prlimit(trainer, resource.RLIMIT_FSIZE)
    resource.prlimit(trainer, resource.RLIMIT_FSIZE, (TOO_SMALL, unlimited[1]))
    wait_until(lambda: failures(graftwork, job), "a checkpoint has no room")
    (first, *_) = failures(graftwork, job)
    resource.prlimit(trainer, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: graftwork.jobs.checkpoints(job)["data"][0]["step"] > first["step"], "the next has")
    resource.prlimit(trainer, resource.RLIMIT_FSIZE, (TOO_SMALL, unlimited[1]))
    failed = graftwork.jobs.wait(job, check=False, timeout=HANGS)
    assert (failed["status"], failed["error"]["code"], failed["error"]["category"]) == (
        "failed",
        "storage_full",
        "transient",
    )
    last = graftwork.jobs.checkpoints(job)["data"][0]["step"]
    graftwork.jobs.retry(job)
    assert graftwork.jobs.wait(job, timeout=HANGS)["status"] == "succeeded"
    resumed = [event["data"]["step"] for event in graftwork.jobs.events(job) if event["type"] == "job.running"]
    assert resumed == [0, last]
    wait_until(lambda: not list((running.folder / "data" / "tmp").glob("*/*")), "no file is left")
