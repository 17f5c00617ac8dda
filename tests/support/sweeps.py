"""Sweeps to ask for, and how they are looked at."""

from typing import Any

import numpy as np

from app.db.session import Database
from app.jobs import lease as leases
from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs
from worker.attempt.drain import Draining
from worker.process import runner

BASE_TRAINING: dict[str, Any] = {"epochs": 3, "batch_size": 16, "evaluate_every": 1, "seed": 1}
LR = {"kind": "log_uniform", "low": 1e-4, "high": 1e-1}
SPACE = {
    "training.optimizer.lr": LR,
    "training.batch_size": {"kind": "integer", "low": 8, "high": 32},
    "strategy.kind": {"kind": "choice", "values": ["full", "linear_probe"]},
}


def table(labelled: int = 90, rows: int = 90) -> str:
    values = np.random.default_rng(0).normal(size=(rows, 4))
    lines = ["a,b,c,d,label"]
    for number, row in enumerate(values):
        label = f"class{int(row[0] + row[1] > 0)}" if number < labelled else ""
        lines.append(",".join([*(f"{value:.4f}" for value in row), label]))
    return "\n".join(lines) + "\n"


def upload(client: Http, settings: Settings, text: str, **fields: str) -> str:
    answer = client.post("/v1/datasets", files={"file": ("rows.csv", text.encode())}, data={"name": "rows", **fields})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    found = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert found["status"] == "ready", found["error"]
    return str(found["id"])


def base(dataset: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "fine_tuning",
        "dataset": dataset,
        "name": "tuned",
        "heads": [{"kind": "classifier", "target": "label"}],
        "backbone": {"kind": "mlp", "hidden": [8]},
        "training": BASE_TRAINING,
        **fields,
    }


def sweep(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "sweep", "base": base(dataset), "space": SPACE, "trials": 4, "seed": 5, **fields}


def submit(client: Http, body: dict[str, Any]) -> str:
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def job_of(client: Http, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
    return found


def trials_of(client: Http, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/jobs?sweep={job}&order=asc&limit=200&view=full").json()["data"]
    return found


def events_of(client: Http, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
    return found


def run_one(settings: Settings, database: Database) -> str | None:
    """One attempt at one job; return its id."""
    with database.writing() as session:
        lease = leases.claim(session, "one", 60)
    if lease is None:
        return None
    runner.run(lease, Draining(), settings)
    return lease.job_id


def tried(done: dict[str, Any]) -> list[dict[str, Any]]:
    """The ranked table without the ids of jobs, which differ from sweep to sweep."""
    return [{name: value for name, value in line.items() if name != "job"} for line in done["metrics"]["trials"]]


def weights(client: Http, job: str) -> dict[str, str]:
    (output,) = job_of(client, job)["outputs"]
    files = client.get(f"/v1/models/{output['model']}").json()["files"]
    return {file["name"]: file["sha256"] for file in files if "golden" not in file["name"]}
