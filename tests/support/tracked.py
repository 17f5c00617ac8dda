"""A job with curves, results, a dataset and a model: what tracking programs are sent."""

import json
from typing import Any

import numpy as np

from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs


def upload_boxes(client: Http, settings: Settings, count: int = 120) -> str:
    """Boxes of two classes; returns the dataset's id."""
    rows = []
    for width, height, depth in np.random.default_rng(0).normal(size=(count, 3)).round(3).tolist():
        kind = "large" if width + height > 0 else "small"
        rows.append({"width": width, "height": height, "depth": depth, "kind": kind})
    content = "\n".join(map(json.dumps, rows)).encode()
    fields = {"name": "boxes", "columns": '{"kind": "target"}'}
    answer = client.post("/v1/datasets", files={"file": ("boxes.jsonl", content)}, data=fields)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    return str(answer.json()["id"])


def train(client: Http, settings: Settings, **fields: Any) -> Any:
    """Pretrain on the boxes; returns the job that has ended."""
    request = {
        "kind": "pretraining",
        "name": "boxes",
        "dataset": upload_boxes(client, settings),
        "backbone": {"kind": "mlp", "hidden": [4]},
        "method": {"kind": "autoencoder"},
        "training": {"epochs": 3, "batch_size": 32},
        "metadata": {"who": "tests", "größe/ä": "ja"},
        **fields,
    }
    answer = client.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    job = client.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert job["status"] == "succeeded", job["error"]
    return job


def measured(client: Http, job: Any) -> dict[tuple[str, int], float]:
    """What the job measured, by name and step."""
    points = client.get(job["links"]["metrics"]).json()["data"]
    return {(name, point["step"]): value for point in points for name, value in point["values"].items()}
