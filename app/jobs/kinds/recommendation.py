"""Recommendation: backbones ranked for a target. It makes no model; its metrics are the ranking."""

from collections.abc import Iterable
from typing import Literal

from pydantic import ConfigDict, Field, field_validator
from sqlalchemy.orm import Session

from app.datasets.access import find_dataset, ready_spec
from app.datasets.repository import DatasetRow
from app.jobs.interface import (
    PRIORITY,
    DatasetRef,
    JobColumns,
    JobKind,
    Metadata,
    ModelRef,
    Priority,
    Resources,
    does_not_fit,
    one_device,
)
from app.ml.errors import ConfigError
from app.ml.fields import Integer, Name
from app.ml.models.bundle import BACKBONE, Manifest
from app.ml.resolution.probe import resolve_probe
from app.ml.spec import DataSpec, Frozen
from app.models import repository
from app.models import service as models
from app.models.repository import ModelRow
from app.recommendations.schemas import Candidate, Misfit, RecommendationConfig

MAX_MODELS = 200


class RecommendationRequest(Frozen):
    """Rank backbones by how well a target follows from their features."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "flowers", "target": "kind", "models": ["flower-features"]}]}
    )

    dataset: DatasetRef = Field(description="Id or name of a ready dataset with labels.")
    target: Name = Field(description="The target, by its name in the dataset: classes or numbers.")
    models: tuple[ModelRef, ...] | None = Field(
        None, min_length=1, max_length=MAX_MODELS, description="What is ranked; null: every model of the project."
    )
    rows: Integer = Field(
        1000, ge=50, le=10_000, description="Labelled train rows that are looked at, of each class alike."
    )
    resources: Resources = Field(default_factory=Resources)
    priority: Priority = Field(0, description=PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")

    _runs_on_one_device = field_validator("resources")(one_device)


class RecommendationJobRequest(RecommendationRequest, JobKind):
    """Rank backbones by how well a target follows from their features, as `POST /v1/recommendations` does."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "recommendation", "dataset": "flowers", "target": "kind"}]}
    )

    kind: Literal["recommendation"]

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Check that the target can be learned, and fix which models are ranked and which cannot be."""
        dataset = find_dataset(session, project_id, self.dataset)
        spec = ready_spec(dataset)
        try:
            resolve_probe(spec, self.target)
        except ConfigError as error:
            raise does_not_fit(error) from None
        return JobColumns(
            kind=self.kind,
            config=_config(session, project_id, self, dataset, spec).model_dump(mode="json"),
            metadata=self.metadata,
            dataset_id=dataset.id,
            priority=self.priority,
            lane="short",
        )


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
    rows = [models.resolve(session, project_id, ref) for ref in request.models]
    return list({row.id: row for row in rows}.values())


def _by_weights(rows: Iterable[ModelRow]) -> list[list[ModelRow]]:
    """Models with the same backbone together: a pretrained one first, else the oldest."""
    groups: dict[str, list[ModelRow]] = {}
    for row in rows:
        groups.setdefault(row.files[BACKBONE]["sha256"], []).append(row)
    return [sorted(group, key=lambda row: (row.kind != "backbone", row.id)) for group in groups.values()]


def _misfit(session: Session, row: ModelRow, dataset: DatasetRow, spec: DataSpec, target: str) -> str | None:
    """Why a model cannot be ranked, None where it can."""
    try:
        resolve_probe(spec, target, Manifest.model_validate(row.manifest))
    except ConfigError as error:
        return error.msg
    teacher = models.find_model_trained_on(session, row, dataset.source_sha256)
    if teacher is None:
        return None
    return f"{teacher.name}@{teacher.version} has learned the labels of these rows: how well it tells them says nothing"
