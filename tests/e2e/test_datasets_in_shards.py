"""A training whose rows come from shards through a small cache, killed within a window of shards."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.jobs import began_at, weights
from tests.support.servers import QUICK, service

_ROWS, _SIDE = 22_600, 64  # encoded a little more than what is held in memory (1 GiB)
_ROW_BYTES = _SIDE * _SIDE * 3
_SHARD_BYTES = 170 * _ROW_BYTES
TRAINING = {"steps": 100, "batch_size": 32, "checkpoint_steps": 20, "seed": 3, "precision": "float32"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_kill_within_a_window_of_shards_changes_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (_ROWS, _SIDE, _SIDE, 3), dtype=np.uint8)
    settings = {
        **QUICK,
        "stall_seconds": 300,
        "shard_bytes": _SHARD_BYTES,
        "shard_cache_bytes": 10 * (_SHARD_BYTES + 128),
        "failpoints": "training.step=kill@70",  # a window has 42 or 43 steps
        "failpoints_once": tmp_path / "once",
    }
    with service(tmp_path, **settings) as running:
        running.disarm()
        with running.up().client() as graftwork:
            dataset = graftwork.datasets.create({"x": pixels}, name="pixels")

            def train() -> str:
                job = graftwork.jobs.create(
                    kind="pretraining",
                    dataset=dataset["id"],
                    backbone={"kind": "mlp", "hidden": [4]},
                    method={"kind": "autoencoder"},
                    training=TRAINING,
                )
                return str(job["id"])

            undisturbed = weights(graftwork, train(), timeout=600)
            running.arm("training.step")
            job = train()
            assert weights(graftwork, job, timeout=600) == undisturbed
            assert running.acted("training.step")
            assert began_at(graftwork, job) == [0, 60]
            orders = [event for event in graftwork.jobs.events(job) if event["type"] == "training.order"]
            assert len(orders) == 2
