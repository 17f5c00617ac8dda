"""Evaluation: a model, and maybe a baseline, measured on the rows of a split. It makes no model."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from sqlalchemy.orm import Session

from app.datasets.access import find_dataset, ready_spec
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
)
from app.ml.errors import ConfigError
from app.ml.models.bundle import Manifest
from app.ml.resolution.compatibility import EvaluatedSplit, check_comparable, check_measurable
from app.models import service as models


class EvaluationRequest(JobKind):
    """Measure a fine-tuned model on a dataset, or compare it with another one on the same rows."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "evaluation", "model": "flower-kinds", "dataset": "flowers"}]}
    )

    is_tracked: ClassVar[bool] = True

    kind: Literal["evaluation"]
    model: ModelRef = Field(description="The model: an id, name, name@version or name@alias.")
    dataset: DatasetRef = Field(description="Id or name of a ready dataset that the model fits.")
    split: EvaluatedSplit = Field("test", description="Which of its rows.")
    baseline: ModelRef | None = Field(
        None, description="A model to compare it with, metric by metric: better, no evidence or worse."
    )
    resources: Resources = Field(default_factory=Resources)
    priority: Priority = Field(0, description=PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Fix what the models' names mean now, and check that both fit the data and can be compared."""
        dataset = find_dataset(session, project_id, self.dataset)
        model = models.resolve(session, project_id, self.model)
        baseline = None if self.baseline is None else models.resolve(session, project_id, self.baseline)
        spec, manifest = ready_spec(dataset), Manifest.model_validate(model.manifest)
        try:
            check_measurable(manifest, spec, self.split)
            if baseline is not None:
                baseline_manifest = Manifest.model_validate(baseline.manifest)
                check_comparable(manifest, baseline_manifest)
                check_measurable(baseline_manifest, spec, self.split, "baseline")
        except ConfigError as error:
            raise does_not_fit(error) from None
        config = {
            "model": model.id,
            "split": self.split,
            "baseline": baseline.id if baseline else None,
            "resources": self.resources.model_dump(mode="json"),
        }
        return JobColumns(
            kind=self.kind,
            config=config,
            metadata=self.metadata,
            dataset_id=dataset.id,
            parent_model_id=model.id,
            priority=self.priority,
            lane="short",
        )
