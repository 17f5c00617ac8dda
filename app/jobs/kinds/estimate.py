"""Estimate: some real steps of a training, timed and weighed. It makes no model; its metrics are the estimate."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import ConfigDict, Field
from sqlalchemy.orm import Session

from app.errors import UnprocessableError
from app.estimates.repository import fingerprint
from app.jobs.interface import JobColumns, JobKind
from app.jobs.kinds.any_training import TRAININGS, AnyTraining, located_in_base


class EstimateRequest(JobKind):
    """Measure what a training would cost, as `POST /v1/jobs/estimate` does."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "estimate",
                    "base": {"kind": "pretraining", "dataset": "flowers", "training": {"epochs": 2}},
                }
            ]
        }
    )

    kind: Literal["estimate"]
    base: AnyTraining = Field(
        description="The training that is measured. Its resources, priority and metadata are those of the estimate."
    )

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Resolve the base as if it were to be trained."""
        try:
            return estimate_columns(session, project_id, self.base)
        except UnprocessableError as error:
            raise located_in_base(error) from None

    @classmethod
    def auxiliary_dataset_of(cls, config: Mapping[str, Any]) -> str | None:
        """Return the auxiliary dataset of the base."""
        return TRAININGS[config["estimates"]].auxiliary_dataset_of(config)


def estimate_columns(session: Session, project_id: str, base: AnyTraining) -> JobColumns:
    """Return the columns of a job that measures `base`. Raises as `base.resolve` does."""
    training = base.resolve(session, project_id)
    mark = fingerprint(training.kind, training.config, training.dataset_id, training.parent_model_id)
    config = {**training.config, "estimates": training.kind, "fingerprint": mark}
    return replace(training, kind="estimate", name=None, config=config, lane="short")
