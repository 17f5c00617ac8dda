"""The main job and the life of the processes, as a user sees them from outside."""

import random
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.cli.broker import EmbeddedBroker
from app.db.session import Database
from app.db.tables import JobRow
from graftwork import Graftwork
from tests.support.jobs import step_of, weights
from tests.support.servers import HANGS, KEY, Service, has_ended, service, wait_until

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

LONG = {"steps": 1500, "batch_size": 32, "checkpoint_steps": 200, "seed": 3}
NETWORK: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [128, 64]}, "method": {"kind": "autoencoder"}}


@pytest.fixture
def unlabelled(graftwork: Graftwork, digits: Digits) -> str:
    return str(graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"])


def long_job(graftwork: Graftwork, dataset: str, name: str, **training: int) -> str:
    training = {**LONG, **training}
    job = graftwork.jobs.create(kind="pretraining", dataset=dataset, name=name, **NETWORK, training=training)
    return str(job["id"])


def test_the_main_job(graftwork: Graftwork, digits: Digits, unlabelled: str) -> None:
    pixels, labels = digits
    fields = {**NETWORK, "training": {"epochs": 3}}
    graftwork.jobs.create(kind="pretraining", dataset=unlabelled, name="main-root", **fields, wait=True)
    labelled = graftwork.datasets.create({"x": pixels[1000:1300], "y": labels[1000:1300]}, name="labelled")
    heads = [{"kind": "classifier", "target": "label"}]
    learned = {"heads": heads, "strategy": {"kind": "linear_probe"}}
    job = graftwork.jobs.create(
        kind="fine_tuning", dataset=labelled["id"], model="main-root", name="main-reader", **learned, wait=True
    )
    inputs = pixels[2000:2100]
    answers = graftwork.models.predict("main-reader", inputs)
    accuracy = np.mean([answer["label"]["class"] for answer in answers] == labels[2000:2100].astype(str))
    assert accuracy > 0.5, accuracy
    assert all(abs(sum(answer["label"]["probabilities"].values()) - 1) < 1e-4 for answer in answers)
    embeddings = np.array(graftwork.models.embed(job["outputs"][0]["model"], inputs[:5]))
    assert embeddings.shape == (5, 64)
    assert np.isfinite(embeddings).all()
    lineage = graftwork.models.lineage("main-reader")
    assert "main-root" in str(lineage)


@pytest.mark.slow
def test_a_job_whose_worker_tree_is_killed_ends_with_the_same_weights(
    running: Service, graftwork: Graftwork, unlabelled: str
) -> None:
    undisturbed = weights(graftwork, long_job(graftwork, unlabelled, "undisturbed"))
    job = long_job(graftwork, unlabelled, "disturbed")
    wait_until(lambda: step_of(graftwork, job) > LONG["checkpoint_steps"], "it has begun")
    running.kill_worker()
    killed = datetime.now(UTC)
    assert graftwork.jobs.get(job)["status"] == "running"
    assert weights(graftwork, job) == undisturbed
    done = graftwork.jobs.get(job)
    assert done["attempt"] == 2
    again = datetime.fromisoformat(graftwork.jobs.attempts(job)[1]["started_at"])
    assert (again - killed).total_seconds() < float(running.environment["GRAFTWORK_LEASE_SECONDS"]) + HANGS
    types = [event["type"] for event in graftwork.jobs.events(job)]
    assert types.count("job.requeued") == 1
    resumed = next(event for event in graftwork.jobs.events(job) if "goes on from step" in event["message"])
    assert resumed["type"] == "job.running"
    points = graftwork.jobs.metrics(job)["data"]
    assert points[-1]["step"] == LONG["steps"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # five lives of a long job
def test_a_worker_killed_again_and_again_ends_with_the_same_weights(tmp_path: Path, digits: Digits) -> None:
    """Killed before its first step and at steps drawn by chance: at states, so that no pace of the machine matters."""
    moments = [0, *sorted(random.Random(7).sample(range(LONG["steps"] // 2), 3))]  # noqa: S311 - no secrets
    with service(tmp_path, lease_seconds=3, sweep_seconds=0.5, max_attempts=30, backoff_seconds=0.1) as running:
        running.up()
        with running.client() as graftwork:
            dataset = str(graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"])
            undisturbed = weights(graftwork, long_job(graftwork, dataset, "undisturbed"))
            job, attempt = long_job(graftwork, dataset, "disturbed"), 0

            def has_come_to(moment: int) -> bool:
                found = graftwork.jobs.get(job)
                assert found["status"] != "succeeded", "it ended before it was killed"
                step = (found["progress"] or {"step": 0})["step"]
                return found["status"] == "running" and found["attempt"] > attempt and step >= moment

            for moment in moments:
                wait_until(partial(has_come_to, moment), f"another attempt has come to step {moment}", seconds=HANGS)
                attempt = graftwork.jobs.get(job)["attempt"]
                running.kill_worker()
            assert weights(graftwork, job) == undisturbed
            assert graftwork.jobs.get(job)["attempt"] > len(moments)
            assert not list((tmp_path / "data" / "tmp").iterdir())


def test_a_killed_trainer_is_replaced(running: Service, graftwork: Graftwork, unlabelled: str) -> None:
    job = long_job(graftwork, unlabelled, "trainer-killed", steps=6000)
    wait_until(lambda: step_of(graftwork, job) > 0, "it has begun")
    running.trainer(job).kill()
    done = graftwork.jobs.wait(job, timeout=HANGS)
    assert done["attempt"] == 2


def test_a_killed_broker_stops_nothing(running: Service, graftwork: Graftwork, unlabelled: str) -> None:
    (broker,) = running.tree("valkey-server")
    broker.kill()
    job = graftwork.jobs.create(kind="pretraining", dataset=unlabelled, **NETWORK, training={"steps": 5})
    assert graftwork.jobs.wait(job["id"], timeout=HANGS)["status"] == "succeeded"
    wait_until(lambda: running.tree("valkey-server"), "the broker is back")


def test_a_preparation_does_not_wait_behind_a_training(running: Service, graftwork: Graftwork, unlabelled: str) -> None:
    job = long_job(graftwork, unlabelled, "hours", steps=1_000_000)
    wait_until(lambda: step_of(graftwork, job) > 0, "it has begun")
    dataset = graftwork.datasets.create(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(30)), name="rows")
    assert (dataset["status"], graftwork.jobs.get(job)["status"]) == ("ready", "running")
    assert graftwork.jobs.get(dataset["job"])["attempt"] == 1
    wait_until(lambda: len(running.tree("trainer")) == 1, "the trainer of the preparation is gone")
    graftwork.jobs.cancel(job)
    assert graftwork.jobs.wait(job, check=False, timeout=HANGS)["status"] == "cancelled"


def test_cancel_stops_a_running_job_and_publishes_nothing(graftwork: Graftwork, unlabelled: str) -> None:
    job = long_job(graftwork, unlabelled, "cancelled", steps=1_000_000)
    wait_until(lambda: step_of(graftwork, job) > 0, "it has begun")
    assert graftwork.jobs.cancel(job)["status"] == "cancelling"
    done = graftwork.jobs.wait(job, check=False, timeout=HANGS)
    assert (done["status"], done["outputs"]) == ("cancelled", [])
    assert not [model for model in graftwork.models.list() if model["name"] == "cancelled"]


def test_the_event_stream_goes_on_where_it_broke(running: Service, graftwork: Graftwork, unlabelled: str) -> None:
    job = graftwork.jobs.create(kind="pretraining", dataset=unlabelled, **NETWORK, training={"steps": 50})["id"]
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}
    url = f"{running.url}/v1/jobs/{job}/events"
    seen: list[int] = []
    with httpx.stream("GET", url, headers=headers, timeout=HANGS, trust_env=False) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            seen += [int(line.removeprefix("id: "))] if line.startswith("id: ") else []
            if len(seen) == 2:
                break
    headers["Last-Event-ID"] = str(seen[-1])
    with httpx.stream("GET", url, headers=headers, timeout=HANGS, trust_env=False) as answer:
        seen += [int(line.removeprefix("id: ")) for line in answer.iter_lines() if line.startswith("id: ")]
    listed = [event["seq"] for event in graftwork.jobs.events(job)]
    assert seen == listed == list(range(1, len(listed) + 1))


def readable_by_others(folder: Path) -> list[Path]:
    """What others than the owner may read or enter, of a folder and all in it; what goes meanwhile is no matter."""
    found = []
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077:
                found.append(path)
    return found


@pytest.mark.slow
def test_a_stop_leaves_no_process_and_the_job_goes_on_at_the_next_start(tmp_path: Path, digits: Digits) -> None:
    """By SIGTERM and by SIGINT, each in the midst of a job; a key is printed by the first start alone."""
    with service(tmp_path, lease_seconds=10, sweep_seconds=0.5) as started:
        del started.environment["GRAFTWORK_BOOTSTRAP_KEY"]
        started.up()
        wait_until(lambda: "API key" in started.log.read_text(), "a key is printed")
        file = Path(next(line for line in started.log.read_text().splitlines() if "API key" in line).split()[-1])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        key = file.read_text().strip()
        assert key not in started.log.read_text()
        assert readable_by_others(tmp_path / "data") == []
        with started.client(key) as graftwork:
            dataset = str(graftwork.datasets.create({"x": digits[0][:1000]}, name="digits")["id"])
            job = long_job(graftwork, dataset, "interrupted")
            stop_midway(started, graftwork, job, signal.SIGTERM)
            started.log.unlink()
            started.up()
            wait_until(lambda: "serves at" in started.log.read_text(), "it greets")
            assert "API key" not in started.log.read_text()
            done = graftwork.jobs.wait(job, timeout=HANGS)
            assert (done["status"], done["attempt"]) == ("succeeded", 1)
            (requeued,) = [event for event in graftwork.jobs.events(job) if event["type"] == "job.requeued"]
            assert requeued["data"] == {"charged": False, "ending": "drained"}
            job = long_job(graftwork, dataset, "endless", steps=1_000_000)
            stop_midway(started, graftwork, job, signal.SIGINT)
        database = Database(f"sqlite:///{tmp_path / 'data' / 'graftwork.db'}")
        with database.reading() as session:
            row = session.get_one(JobRow, job)
            assert (row.status, row.attempts) == ("queued", 0)
        database.close()


def stop_midway(started: Service, graftwork: Graftwork, job: str, number: signal.Signals) -> None:
    wait_until(lambda: step_of(graftwork, job) > 0, "it has begun")
    processes = started.tree()
    assert len(processes) >= 6
    started.stop(number)
    assert all(map(has_ended, processes))


@pytest.mark.slow
def test_a_worker_without_its_broker_works_on_and_stops_when_told(tmp_path: Path, digits: Digits) -> None:
    broker = EmbeddedBroker()
    server = broker.start()
    with service(tmp_path, broker_url=broker.url, sweep_seconds=0.5, poll_seconds=1) as running:
        assert running.run("migrate").wait(HANGS) == 0
        worker = running.run("worker")
        running.run("api", "--port", str(running.port))
        running.wait_ready()
        with running.client() as graftwork:
            graftwork.datasets.create({"x": digits[0][:100]}, name="with")
            server.kill()
            server.wait()
            assert graftwork.datasets.create({"x": digits[0][100:200]}, name="without")["status"] == "ready"
        time.sleep(5)  # the broker's absence has been noticed everywhere
        worker.terminate()
        assert worker.wait(HANGS) is not None


def test_the_supervising_process_never_imports_torch() -> None:
    code = (
        "import sys, worker.tasks; assert 'torch' not in sys.modules; assert 'worker.process.supervisor' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_worker_without_a_broker_says_what_to_set() -> None:
    program = [sys.executable, "-m", "app.cli.main", "worker"]
    result = subprocess.run(program, capture_output=True, text=True, env={"PATH": ""}, check=False)
    assert result.returncode == 1
    assert "GRAFTWORK_BROKER_URL" in result.stderr
