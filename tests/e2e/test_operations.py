"""What can be read of a service as it runs: its logs, by trace, through all of its processes."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.support.servers import KEY, service, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LOGGERS = {"api": "app.jobs.service", "worker": "worker.process.supervisor", "trainer": "worker.jobs.training"}


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().split("\n") if line.startswith("{")]


def test_a_trace_goes_from_the_request_to_the_trainer(tmp_path: Path) -> None:
    with service(tmp_path, log_format="json") as running, running.up().client() as graftwork:
        dataset = graftwork.datasets.create({"x": [[float(n), 1.0] for n in range(30)]}, name="rows")["id"]
        body = {"kind": "pretraining", "dataset": dataset, "training": {"steps": 2}}
        headers = {
            "Authorization": f"Bearer {KEY}",
            "X-Request-Id": "the-request",
            "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
        }
        answer = httpx.post(f"{running.url}/v1/jobs", json=body, headers=headers, trust_env=False)
        job = answer.json()["id"]
        graftwork.jobs.wait(job, timeout=60)
        running.stop()
    mine = [line for line in lines_of(running.log) if line.get("trace_id") == TRACE]
    assert {line["process"]: line["logger"] for line in mine if line["logger"] in LOGGERS.values()} == LOGGERS
    assert {line.get("request_id") for line in mine if line["process"] == "api"} == {"the-request"}
    assert {line["job_id"] for line in mine if line["process"] != "api"} == {job}
    assert any(job in line["message"] for line in mine if line["process"] == "api")


def test_a_frozen_broker_is_told_and_stops_nothing(tmp_path: Path) -> None:
    with service(tmp_path, sweep_seconds=0.5, poll_seconds=1) as running, running.up().client() as graftwork:
        (broker,) = running.tree("valkey-server")
        broker.suspend()
        found = httpx.get(f"{running.url}/health/ready", trust_env=False)
        assert (found.status_code, found.json()["status"]) == (200, "degraded")
        assert "does not answer" in found.json()["parts"]["broker"]
        dataset = graftwork.datasets.create({"x": [[float(n), 1.0] for n in range(30)]}, name="rows")["id"]
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset, training={"steps": 2})["id"]
        assert graftwork.jobs.wait(job, timeout=60)["status"] == "succeeded"
        broker.resume()
        assert httpx.get(f"{running.url}/health/ready", trust_env=False).json()["parts"]["broker"] == "ok"


def test_a_backup_of_a_running_service_is_a_service(tmp_path: Path) -> None:
    """Copied while a job runs: the models answer as before, and the job goes on to its end."""
    rows = [[float(n), float(n % 3)] for n in range(60)]
    with service(tmp_path / "first") as running, running.up().client() as graftwork:
        dataset = graftwork.datasets.create({"x": rows}, name="rows")["id"]
        short = graftwork.jobs.create(kind="pretraining", dataset=dataset, name="root", training={"steps": 5})["id"]
        graftwork.jobs.wait(short, timeout=60)
        embedded = graftwork.models.embed("root", rows[:3])
        long = {"steps": 8_000, "batch_size": 16, "checkpoint_steps": 500}
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset, training=long)["id"]
        wait_until(lambda: graftwork.jobs.checkpoints(job)["data"], "its first checkpoint")
        copying = running.run("backup", str(tmp_path / "second" / "data"))
        assert copying.wait(60) == 0
        again = running.run("backup", str(tmp_path / "second" / "data"))
        assert again.wait(60) == 1
    with service(tmp_path / "second", lease_seconds=3, sweep_seconds=0.5) as copy, copy.up().client() as graftwork:
        assert graftwork.models.embed("root", rows[:3]) == embedded
        done = graftwork.jobs.wait(job, timeout=150)
        assert (done["status"], done["attempt"]) == ("succeeded", 2)
        resumed = [event["data"]["step"] for event in graftwork.jobs.events(job) if event["type"] == "job.running"]
        assert resumed[-1] >= 500
