"""A user's program: mypy --strict finds nothing in it."""

import asyncio
from pathlib import Path

from graftwork import AsyncGraftwork, Graftwork, GraftworkError, Job, JobFailedError, answers, requests


def train(graftwork: Graftwork, file: Path) -> Job:
    dataset: answers.Dataset = graftwork.datasets.create(file, name="customers", columns={"churn": "target"}, seed=3)
    head: requests.Classifier = {"kind": "classifier", "target": "churn"}
    graftwork.jobs.create(kind="pretraining", name="base", dataset=dataset.id, method={"kind": "simclr"}, wait=True)
    job = graftwork.jobs.create(
        kind="fine_tuning",
        name="churn",
        dataset=dataset.id,
        model="base",
        heads=[head],
        strategy={"kind": "lora", "rank": 4},
        training={"epochs": 3, "optimizer": {"kind": "adamw", "lr": 0.001}},
    )
    for event in job.follow():
        print(event.seq + 1, event.message.upper())
    graftwork.jobs.sweep(
        base={"kind": "pretraining", "dataset": dataset.id},
        space={"training.optimizer.lr": {"kind": "log_uniform", "low": 0.0001, "high": 0.1}},
        trials=4,
    )
    return job.wait(progress=True)


def ask(graftwork: Graftwork) -> float:
    predictions = graftwork.models.predict("churn", [{"age": 3}], top_k=1, unknown="refuse")
    names: list[str] = [model.name for model in graftwork.models.list(kind="fine_tuned")]
    shares = [job.progress.fraction for job in graftwork.jobs.list(status="running") if job.progress]
    full = [job.metrics for job in graftwork.jobs.list(view="full")]
    print(names, full, predictions.model, predictions.warnings[0].remedy)
    return sum(shares)


def fails(graftwork: Graftwork) -> str:
    try:
        graftwork.jobs.create(kind="evaluation", model="churn", dataset="customers", wait=True)
    except JobFailedError as error:
        return f"{error.job.status} {error.code}"
    except GraftworkError as error:
        return f"{error.status} {error.code} {error.remedy} {[place['loc'] for place in error.errors]}"
    return "succeeded"


async def meanwhile() -> list[str]:
    async with AsyncGraftwork("http://127.0.0.1:8000", "a-key") as graftwork:
        job = await graftwork.jobs.create(kind="export", model="churn", format="onnx")
        job, _ = await asyncio.gather(job.wait(timeout=60), graftwork.models.embed("churn", [{"age": 3}]))
        await job.download("model.onnx", "model.onnx")
        return [model.name async for model in graftwork.models.list()]
