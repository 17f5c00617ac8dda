"""The service by its defaults: an upload, the shortest request for a head, and predictions of the test rows."""

import time
from typing import Any

import numpy as np
from protocol import BATCH_SIZE, Json, Lab

from bench.simple.baselines import Result
from bench.simple.files import inputs_of
from bench.simple.sets import Draw
from graftwork import GraftworkApiError, GraftworkError

ENDED = {"succeeded", "failed", "cancelled"}
DEFAULTS: Json = {"splits": None, "duplicates": None}  # instead of what Lab gives


def ask(lab: Lab, draw: Draw, limit: float, **options: Any) -> tuple[Result, str]:
    """Upload the rows to learn from, fine-tune by default, and predict; return this and what the service took.

    What is refused, has failed or was cancelled after `limit` seconds has None for an answer.
    """
    nothing = np.full(len(draw.test), None)
    try:
        job = _job(lab, draw, limit, options)
    except GraftworkError as refused:
        return Result(nothing, 0.0), f"refused: {refused}"
    seconds = lab.cpu_seconds_of(job["id"])
    if job["status"] != "succeeded":
        return Result(nothing, limit if job["status"] == "cancelled" else seconds), f"{job['status']}: {job['error']}"
    model = lab.model_of(job)
    answers, refusals = _answers(lab, model, draw)
    note = f", {len(refusals)} of {len(answers)} rows refused: {refusals[0]}" if refusals else ""
    return Result(np.array(answers, dtype=object), seconds), taken(lab.client.models.get(model)) + note


def taken(model: Json) -> str:
    """Return in a word what a model learned from: its backbone and strategy."""
    return f"{model['backbone']['kind']}, {(model.get('strategy') or {}).get('kind', '')}"


def _job(lab: Lab, draw: Draw, limit: float, options: Json) -> Json:
    """Return the job after its end. Raises GraftworkError if the upload or the request is refused."""
    content, filename, needed = draw.set.file(draw.set, draw.train)
    dataset = lab.upload(content, filename=filename, **{**DEFAULTS, **needed, **options})
    kind = "regressor" if draw.set.regression else "classifier"
    (target,) = lab.client.datasets.get(dataset)["targets"]
    request = {"kind": "fine_tuning", "dataset": dataset, "heads": [{"kind": kind, "target": target["name"]}]}
    return _ended(lab, lab.client.jobs.create(**request)["id"], limit)


def _ended(lab: Lab, job_id: str, limit: float) -> Json:
    """Wait for the end of a job, which is cancelled after `limit` seconds."""
    deadline = time.monotonic() + limit
    while (job := lab.client.jobs.get(job_id))["status"] not in ENDED:
        if time.monotonic() > deadline:
            lab.client.jobs.cancel(job_id)
            deadline = float("inf")
        time.sleep(0.1)
    return job


def _answers(lab: Lab, model: str, draw: Draw) -> tuple[list[Any], list[str]]:
    """Return the class or value predicted of each test row, None for rows that are refused; and why they are."""
    inputs = inputs_of(draw.set, draw.test)
    batches = [inputs[start : start + BATCH_SIZE] for start in range(0, len(inputs), BATCH_SIZE)]
    field = "value" if draw.set.regression else "class"
    answers = [answer for batch in batches for answer in _predict(lab, model, batch)]
    refusals = [str(answer) for answer in answers if isinstance(answer, GraftworkApiError)]
    return [None if isinstance(answer, GraftworkApiError) else answer[field] for answer in answers], refusals


def _predict(lab: Lab, model: str, batch: list[Any]) -> list[Any]:
    """Return the only head's answers; where a batch is refused, each row is asked for alone, and its error returned."""
    try:
        return [next(iter(answer.values())) for answer in lab.client.models.predict(model, batch)]
    except GraftworkApiError as error:
        return [error] if len(batch) == 1 else [answer for row in batch for answer in _predict(lab, model, [row])]
