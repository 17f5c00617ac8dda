"""A job on two devices, through the service: it trains, outlives a rank's death, and leaves no process behind."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from graftwork import Graftwork
from tests.support.servers import HANGS, Service, has_ended, service, wait_until

TRAINING = {"steps": 800, "batch_size": 32, "checkpoint_steps": 50, "seed": 3}
MLP = {"kind": "mlp", "hidden": [64, 32]}


@pytest.mark.slow
def test_two_ranks_train_and_a_killed_one_is_made_good(
    tmp_path: Path, digits: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> None:
    short = {"lease_seconds": 6, "sweep_seconds": 0.5, "poll_seconds": 2, "worker_devices": 2}
    with service(tmp_path, **short) as running, running.up().client() as graftwork:
        dataset = graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"]
        body: dict[str, Any] = {
            "kind": "pretraining",
            "dataset": dataset,
            "backbone": MLP,
            "method": {"kind": "autoencoder"},
            "training": TRAINING,
            "resources": {"device": "cpu", "devices": 2},
        }
        estimate = graftwork.jobs.estimate(**body, wait=False)["id"]
        wait_until(lambda: running.tree("worker.distributed.rank"), "two ranks are measured")
        assert graftwork.jobs.wait(estimate, timeout=HANGS)["metrics"]["seconds"] > 0
        assert running.tree("worker.distributed.rank") == []
        job = graftwork.jobs.create(**body)["id"]
        wait_until(lambda: bool(graftwork.jobs.checkpoints(job)["data"]), "it has a checkpoint")
        follower, leader = pair(running)
        follower.kill()
        wait_until(lambda: has_ended(leader) and has_ended(follower), "both are gone")
        wait_until(
            lambda: len(running.tree("worker.distributed.rank")) == 1 and progress(graftwork, job) > 50, "it goes on"
        )
        follower, leader = pair(running)
        supervisor = leader.parent()
        assert supervisor is not None
        supervisor.kill()
        wait_until(lambda: has_ended(leader) and has_ended(follower), "nothing outlives the supervisor")
        assert graftwork.jobs.wait(job, timeout=HANGS)["attempt"] == 3
        endings = [(one["ending"], one["charged"]) for one in graftwork.jobs.attempts(job)]
        assert endings == [("died", True), ("silent", True), ("succeeded", True)]
        resumed = [one["data"]["step"] for one in graftwork.jobs.events(job) if one["type"] == "job.running"]
        assert resumed[0] == 0 < resumed[1] <= resumed[2]
        assert running.tree("worker.distributed.rank") == []


@pytest.mark.slow
def test_the_main_job_with_shards_and_a_kill(
    tmp_path: Path, digits: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> None:
    """Pretrain and fine-tune on two devices that shard; the fine-tuning goes on from a checkpoint after a kill."""
    pixels, labels = digits[0][:1000], digits[1][:1000]
    short = {"lease_seconds": 6, "sweep_seconds": 0.5, "poll_seconds": 2, "worker_devices": 2}
    with service(tmp_path, **short) as running, running.up().client() as graftwork:
        resources = {"device": "cpu", "devices": 2, "sharding": "shard"}
        unlabelled = graftwork.datasets.create({"x": pixels}, name="digits")["id"]
        labelled = graftwork.datasets.create({"x": pixels, "y": labels}, name="labelled")["id"]
        graftwork.jobs.create(
            kind="pretraining",
            dataset=unlabelled,
            name="root",
            backbone=MLP,
            method={"kind": "autoencoder"},
            training={"steps": 100, "batch_size": 32},
            resources=resources,
            wait=True,
        )
        fine_tuning = graftwork.jobs.create(
            kind="fine_tuning",
            dataset=labelled,
            model="root",
            name="reader",
            heads=[{"kind": "classifier", "target": "label"}],
            strategy={"kind": "full"},
            training={**TRAINING, "early_stopping": {"patience": 1000}},
            resources=resources,
        )["id"]
        wait_until(lambda: bool(graftwork.jobs.checkpoints(fine_tuning)["data"]), "it has a checkpoint")
        follower, leader = pair(running)
        follower.kill()
        wait_until(lambda: has_ended(leader) and has_ended(follower), "both are gone")
        ended = graftwork.jobs.wait(fine_tuning, timeout=HANGS)
        assert ended["attempt"] == 2
        answers = graftwork.models.predict("reader", digits[0][2000:2100])
        correct = [
            answer["label"]["class"] == str(label) for answer, label in zip(answers, digits[1][2000:], strict=False)
        ]
        assert np.mean(correct) > 0.7
        assert running.tree("worker.distributed.rank") == []


def pair(running: Service) -> tuple[psutil.Process, psutil.Process]:
    """The rank that follows, and the one that leads: the trainer."""
    (follower,) = running.tree("worker.distributed.rank")
    leader = follower.parent()
    assert leader is not None
    assert leader.name() == "trainer"
    return follower, leader


def progress(graftwork: Graftwork, job: str) -> int:
    return int((graftwork.jobs.get(job)["progress"] or {"step": 0})["step"])
