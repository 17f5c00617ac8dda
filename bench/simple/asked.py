"""The service by its defaults: an upload, the shortest request for a head, and predictions of the test rows."""

import time
from typing import Any

import numpy as np
from protocol import BATCH_SIZE, Json, Lab
from sources import Array

from bench.simple.baselines import Result
from bench.simple.files import inputs_of
from bench.simple.sets import Draw

DEFAULTS: Json = {"splits": None, "duplicates": None}  # instead of what Lab gives


class GaveUpError(Exception):
    """A job took longer than the limit, or failed."""


def ask(lab: Lab, draw: Draw, limit: float, **options: Any) -> tuple[Result, str]:
    """Upload the rows to learn from, fine-tune by default, and predict; return this and what the service took.

    Raises:
        GaveUpError: the job was cancelled after `limit` seconds, or failed.
    """
    content, filename, needed = draw.set.file(draw.set, draw.train)
    dataset = lab.upload(content, filename=filename, **{**DEFAULTS, **needed, **options})
    kind = "regressor" if draw.set.regression else "classifier"
    (target,) = lab.client.datasets.get(dataset)["targets"]
    request = {"kind": "fine_tuning", "dataset": dataset, "heads": [{"kind": kind, "target": target["name"]}]}
    job = _finished(lab, lab.client.jobs.create(**request)["id"], limit)
    model = lab.model_of(job)
    return Result(_answers(lab, model, draw), lab.cpu_seconds_of(job["id"])), taken(lab.client.models.get(model))


def taken(model: Json) -> str:
    """Return in a word what a model learned from: its backbone and strategy."""
    return f"{model['backbone']['kind']}, {(model.get('strategy') or {}).get('kind', '')}"


def _finished(lab: Lab, job_id: str, limit: float) -> Json:
    deadline = time.monotonic() + limit
    while (job := lab.client.jobs.get(job_id))["status"] not in {"succeeded", "failed", "cancelled"}:
        if time.monotonic() > deadline:
            lab.client.jobs.cancel(job_id)
            deadline = float("inf")
        time.sleep(0.1)
    if job["status"] != "succeeded":
        msg = f"{job['status']}: {job.get('error')}"
        raise GaveUpError(msg)
    return job


def _answers(lab: Lab, model: str, draw: Draw) -> Array:
    """Return the class or the value that is predicted of each test row."""
    inputs = inputs_of(draw.set, draw.test)
    batches = [inputs[start : start + BATCH_SIZE] for start in range(0, len(inputs), BATCH_SIZE)]
    answers = [next(iter(answer.values())) for batch in batches for answer in lab.client.models.predict(model, batch)]
    return np.array([answer["value" if draw.set.regression else "class"] for answer in answers])
