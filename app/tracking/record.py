"""The record of a job: its parameters, results and lineage as flat pairs, which is how tracking programs keep them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.datasets.access import find_dataset
from app.db.session import Database
from app.errors import NotFoundError
from app.jobs import service as jobs
from app.jobs.repository import metrics as points_after
from app.jobs.schemas import Job
from app.models import service as models
from app.models.schemas import LineageModel

PAGE = 2000  # measured steps that are read at a time
_PREFIX = "graftwork"


@dataclass(frozen=True, slots=True)
class TrackedDataset:
    """The dataset that a job read."""

    name: str
    sha256: str  # of the upload


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one step; a value that was not finite is None."""

    step: int
    time: float
    values: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What a job has to say, but for its curves. Names of parameters and results join the levels of their JSON."""

    job: Job
    parameters: dict[str, str]
    results: dict[str, float]
    tags: dict[str, str]
    dataset: TrackedDataset | None

    @property
    def title(self) -> str:
        """The job's name, or its kind."""
        return self.job.name or self.job.kind


def record_of(session: Session, project_id: str, job_id: str, public_url: str = "") -> JobRecord:
    """Read the record of a job; links begin with `public_url`.

    Raises:
        NotFoundError: the project has no such job.
    """
    job = jobs.get(session, project_id, job_id)
    dataset = _dataset(session, project_id, job)
    return JobRecord(
        job=job,
        parameters=dict(_flat(job.config, ".")),
        results=dict(_numbers(job.metrics or {}, "/")),
        tags=_tags(session, project_id, job, dataset, public_url),
        dataset=dataset,
    )


def points_of(database: Database, project_id: str, job_id: str, after: int) -> list[Point]:
    """Return what was measured at the next steps after one, at most `PAGE`. Raises NotFoundError: the job is gone."""
    with database.reading() as session:
        jobs.find(session, project_id, job_id)
        rows = points_after(session, job_id, after, PAGE)
        return [Point(row.step, row.created_at, row.values) for row in rows]


def _flat(value: Any, separator: str, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each leaf. Lists of plain values are one leaf, written as JSON."""
    if isinstance(value, Mapping) and value:
        items: Any = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = enumerate(value)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return
    for key, item in items:
        yield from _flat(item, separator, f"{name}{separator}{key}" if name else str(key))


def _numbers(value: Any, separator: str, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, number) of each number that stands in objects; those of lists, as of matrices, have no name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, separator, f"{name}{separator}{key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


def _dataset(session: Session, project_id: str, job: Job) -> TrackedDataset | None:
    if job.dataset is None:
        return None
    try:
        row = find_dataset(session, project_id, job.dataset)
    except NotFoundError:  # it was deleted; its id is among the tags
        return None
    return TrackedDataset(row.name, row.source_sha256)


def _tags(
    session: Session, project_id: str, job: Job, dataset: TrackedDataset | None, public_url: str
) -> dict[str, str]:
    """Return the lineage: what the job read, what it started from and what it made, by id, name and link."""
    made = [models.lineage(session, project_id, output.model) for output in job.outputs]
    ancestors = made[0].ancestors if made else _with_ancestors(session, project_id, job.model)
    tags = {
        "job": job.id,
        "kind": job.kind,
        "status": job.status,
        "link": f"{public_url}{job.links.self}",
        "dataset": job.dataset,
        "dataset.name": dataset and dataset.name,
        "dataset.sha256": dataset and dataset.sha256,
        "parent": ancestors[0].id if ancestors else job.model,
        "ancestors": " < ".join(map(_name, ancestors)) or None,
        "models": ", ".join(_name(lineage.model) for lineage in made) or None,
        "models.links": " ".join(f"{public_url}/v1/models/{output.model}" for output in job.outputs) or None,
        "sweep": job.sweep,
        "extends": job.extends,
        "error": job.error and job.error.code,
        **{f"metadata.{key}": value for key, value in job.metadata.items()},
    }
    return {f"{_PREFIX}.{name}": value for name, value in tags.items() if value}


def _with_ancestors(session: Session, project_id: str, model: str | None) -> list[LineageModel]:
    """Return a model and its ancestors, where it still is."""
    if model is None:
        return []
    try:
        lineage = models.lineage(session, project_id, model)
    except NotFoundError:
        return []
    return [lineage.model, *lineage.ancestors]


def _name(model: LineageModel) -> str:
    return f"{model.name}@{model.version}"
