"""Decides about recommendations: which models are ranked for a labelled dataset, and which cannot be."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from app.datasets.access import find_dataset, ready_spec
from app.db.tables import DatasetRow, ModelRow
from app.jobs import plan
from app.jobs import service as jobs
from app.jobs.schemas import Job
from app.ml.data.spec import DataSpec
from app.ml.errors import ConfigError
from app.ml.models.bundle import BACKBONE, Manifest
from app.ml.resolution.probe import probe_of
from app.models import repository
from app.models import service as models
from app.queue import JobQueue
from app.recommendations.schemas import MAX_MODELS, Candidate, Misfit, RecommendationConfig, RecommendationRequest


def submit(
    session: Session, queue: JobQueue, project_id: str, request: RecommendationRequest, most_unfinished: int
) -> Job:
    """Check a request and queue its job.

    Raises:
        NotFoundError: there is no such dataset or model.
        ConflictError: the dataset is not ready.
        UnprocessableError: the target cannot be learned.
        TooManyError: too many jobs are unfinished.
    """
    jobs.check_room(session, project_id, most_unfinished)
    dataset = find_dataset(session, project_id, request.dataset)
    spec = ready_spec(dataset)
    try:
        probe_of(spec, request.target)
    except ConfigError as error:
        raise plan.misfit(error) from None
    config = _config(session, project_id, request, dataset, spec)
    row = jobs.enqueue(
        session,
        queue,
        project_id=project_id,
        kind="recommendation",
        name=None,
        config=config.model_dump(mode="json"),
        job_metadata=dict(request.metadata),
        dataset_id=dataset.id,
        parent_model_id=None,
        priority=request.priority,
    )
    return jobs.answer(session, row)


def _config(
    session: Session, project_id: str, request: RecommendationRequest, dataset: DatasetRow, spec: DataSpec
) -> RecommendationConfig:
    candidates, misfits = [], []
    for first, *others in _by_weights(_rows(session, project_id, request)):
        named = {"model": first.id, "name": first.name, "version": first.version}
        reason = _misfit(session, first, dataset, spec, request.target)
        if reason is None:
            candidates.append(Candidate(**named, shared_by=tuple(row.id for row in others)))
        else:
            misfits += [
                Misfit(model=row.id, name=row.name, version=row.version, reason=reason) for row in (first, *others)
            ]
    return RecommendationConfig(
        target=request.target,
        rows=request.rows,
        candidates=tuple(candidates),
        misfits=tuple(misfits),
        resources=request.resources,
    )


def _rows(session: Session, project_id: str, request: RecommendationRequest) -> list[ModelRow]:
    """The models that are named, or the newest of all."""
    if request.models is None:
        return repository.newest(session, project_id, MAX_MODELS)
    found = [models.resolve(session, project_id, ref) for ref in request.models]
    return list({row.id: row for row in found}.values())


def _by_weights(rows: Iterable[ModelRow]) -> list[list[ModelRow]]:
    """Models with the same backbone together: a pretrained one first, else the oldest."""
    groups: dict[str, list[ModelRow]] = {}
    for row in rows:
        groups.setdefault(row.files[BACKBONE]["sha256"], []).append(row)
    return [sorted(group, key=lambda row: (row.kind != "backbone", row.id)) for group in groups.values()]


def _misfit(session: Session, row: ModelRow, dataset: DatasetRow, spec: DataSpec, target: str) -> str | None:
    """Why a model cannot be ranked, None where it can."""
    try:
        probe_of(spec, target, Manifest.model_validate(row.manifest))
    except ConfigError as error:
        return error.msg
    taught = models.taught_by(session, row, dataset.source_sha256)
    if taught is None:
        return None
    return f"{taught.name}@{taught.version} has learned the labels of these rows: how well it tells them says nothing"
