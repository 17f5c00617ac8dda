"""The code of an earlier commit beside today's, on one database and store: each does what the other began.

`tests/data/code_COMMIT.tar.xz` is that code, made anew with each release:
`git archive COMMIT app worker migrations clients/python/src | xz -9`.
"""

import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork import Graftwork
from tests.support.jobs import endings, made
from tests.support.servers import HANGS, Postgres, Service, service, valkey, wait_until

pytestmark = pytest.mark.slow

(CODE,) = (Path(__file__).parents[1] / "data").glob("code_*.tar.xz")
NETWORK: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [32]}, "method": {"kind": "autoencoder"}}
LONG = {"steps": 3000, "batch_size": 32, "checkpoint_steps": 50, "seed": 3}
HEADS = [{"kind": "classifier", "target": "label"}]


@pytest.fixture
def services(tmp_path: Path, postgres: Postgres) -> Iterator[tuple[Service, Service, Service, Service]]:
    """An API and a worker of then, and of now, none of which runs; they share database, broker and files."""
    code = tmp_path / "code"
    with tarfile.open(CODE) as archive:
        archive.extractall(code, filter="data")
    with ExitStack() as stack:
        broker = stack.enter_context(valkey())
        shared = {"database_url": postgres.url(postgres.create()), "broker_url": broker, "data": tmp_path / "data"}
        shared |= {"poll_seconds": 1, "sweep_seconds": 0.5}
        parts = [
            stack.enter_context(service(tmp_path / name, **shared)) for name in ("old-api", "old", "new-api", "new")
        ]
        for part in parts[:2]:
            part.code = code
            part.environment["PYTHONPATH"] = f"{code}:{code}/clients/python/src"
        old_api, old, new_api, new = parts
        yield old_api, old, new_api, new


def pretrain(graftwork: Graftwork, dataset: str, name: str, **training: Any) -> str:
    job = graftwork.jobs.create(kind="pretraining", dataset=dataset, name=name, **NETWORK, training=training)
    return str(job["id"])


def start_api(part: Service) -> Graftwork:
    part.run("api", "--port", str(part.port))
    part.wait_ready()
    return part.client()


def test_old_and_new_work_side_by_side(services: tuple[Service, Service, Service, Service]) -> None:
    old_api, old_worker, new_api, new_worker = services
    assert old_api.run("migrate").wait(HANGS) == 0, old_api.log.read_text()
    assert "code" in old_api.environment["PYTHONPATH"]
    random = np.random.default_rng(0)
    x, y = random.normal(size=(400, 6)).astype("f4"), np.arange(400) % 2
    x[:, 0] += 3 * y
    with start_api(old_api) as old:
        old_worker.run("worker")
        dataset = old.datasets.create({"x": x, "y": y}, name="rows", wait=True)["id"]
        before = made(old, pretrain(old, dataset, "before", steps=20))
        assert new_api.run("migrate").wait(HANGS) == 0, new_api.log.read_text()
        with start_api(new_api) as new:
            assert {job["id"] for job in new.jobs.list()} == {job["id"] for job in old.jobs.list()}
            job = pretrain(new, dataset, "asked-of-new", steps=20, seed=0)
            assert made(new, job), "the old worker does what the new API was asked"
            long = pretrain(old, dataset, "root", **LONG)
            wait_until(lambda: new.jobs.checkpoints(long)["data"], "a checkpoint of the old worker")
            new_worker.run("worker")
            old_worker.stop()
            assert made(old, long), "the new worker goes on where the old one was"
            assert endings(new, long) == [("drained", False), ("succeeded", True)]
            fields = {"model": "root", "heads": HEADS, "strategy": {"kind": "full"}, "training": {"steps": 20}}
            old.jobs.create(kind="fine_tuning", dataset=dataset, name="reader", **fields, wait=True)
            assert old.models.predict("reader", x[:5]) == new.models.predict("reader", x[:5])
            assert {job["status"] for job in new.jobs.list()} == {"succeeded"}
            again = new.models.get("before")["files"]
            assert before.items() <= {file["name"]: file["sha256"] for file in again}.items()
