"""What can be read of a service as it runs: its logs, by trace, through all of its processes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from graftwork import Graftwork
from tests.support.servers import HANGS, KEY, QUICK, Service, service, wait_until
from tests.support.storage import graftwork_command

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LOGGERS = {"api": "app.jobs.queueing", "worker": "worker.process.supervisor", "trainer": "worker.jobs.training"}


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().split("\n") if line.startswith("{")]


@pytest.mark.slow
def test_a_trace_goes_from_the_request_to_the_trainer(running: Service, graftwork: Graftwork) -> None:
    dataset = graftwork.datasets.create({"x": [[float(n), 1.0] for n in range(30)]}, name="rows")["id"]
    body = {"kind": "pretraining", "dataset": dataset, "training": {"steps": 2}}
    headers = {
        "Authorization": f"Bearer {KEY}",
        "X-Request-Id": "the-request",
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    }
    answer = httpx.post(f"{running.url}/v1/jobs", json=body, headers=headers, trust_env=False, timeout=HANGS)
    job = answer.json()["id"]
    graftwork.jobs.wait(job, timeout=HANGS)

    def traced() -> list[dict[str, Any]]:
        return [line for line in lines_of(running.log) if line.get("trace_id") == TRACE]

    def loggers() -> dict[str, str]:
        return {line["process"]: line["logger"] for line in traced() if line["logger"] in LOGGERS.values()}

    wait_until(lambda: loggers() == LOGGERS, "all three have logged it")
    assert {line.get("request_id") for line in traced() if line["process"] == "api"} == {"the-request"}
    assert {line["job_id"] for line in traced() if line["process"] != "api"} == {job}
    assert any(job in line["message"] for line in traced() if line["process"] == "api")


def broker_of(running: Service) -> str:
    answer = httpx.get(f"{running.url}/health/ready", trust_env=False, timeout=HANGS)
    assert answer.status_code == 200
    part = str(answer.json()["parts"]["broker"])
    assert (answer.json()["status"] == "degraded") == (part != "ok")
    return part


def test_a_frozen_broker_is_told_and_stops_nothing(running: Service, graftwork: Graftwork) -> None:
    (broker,) = running.tree("valkey-server")
    broker.suspend()
    try:
        assert "does not answer" in broker_of(running)
        dataset = graftwork.datasets.create({"x": [[float(n), 1.0] for n in range(30)]}, name="rows")["id"]
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset, training={"steps": 2})["id"]
        assert graftwork.jobs.wait(job, timeout=HANGS)["status"] == "succeeded"
    finally:
        broker.resume()
    wait_until(lambda: broker_of(running) == "ok", "it answers again")


@pytest.mark.slow
def test_a_backup_of_a_running_service_is_a_service(running: Service, graftwork: Graftwork, tmp_path: Path) -> None:
    """Copied while a job runs: the models answer as before, and the job goes on to its end."""
    rows = [[float(n), float(n % 3)] for n in range(60)]
    dataset = graftwork.datasets.create({"x": rows}, name="rows")["id"]
    short = graftwork.jobs.create(kind="pretraining", dataset=dataset, name="kept", training={"steps": 5})["id"]
    graftwork.jobs.wait(short, timeout=HANGS)
    embedded = graftwork.models.embed("kept", rows[:3])
    long = {"steps": 5000, "batch_size": 16, "checkpoint_steps": 300}  # it outlasts two backups
    job = graftwork.jobs.create(kind="pretraining", dataset=dataset, training=long)["id"]
    wait_until(lambda: graftwork.jobs.checkpoints(job)["data"], "its first checkpoint")
    graftwork_command(running, "backup", str(tmp_path / "data"))
    with pytest.raises(subprocess.CalledProcessError):
        graftwork_command(running, "backup", str(tmp_path / "data"))
    graftwork.jobs.cancel(job)
    with service(tmp_path, **QUICK) as copy, copy.up().client() as other:
        assert other.models.embed("kept", rows[:3]) == embedded
        done = other.jobs.wait(job, timeout=HANGS)
        assert (done["status"], done["attempt"]) == ("succeeded", 2)
        resumed = [event["data"]["step"] for event in other.jobs.events(job) if event["type"] == "job.running"]
        assert resumed[-1] >= 300
