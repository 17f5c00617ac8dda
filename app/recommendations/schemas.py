"""What a recommendation is asked by, and what its job's row keeps."""

from typing import Annotated

from pydantic import Field, field_validator

from app.jobs.schemas import PRIORITY, Metadata, ModelRef, Priority, Resources
from app.ml.configs.fields import Integer, Name
from app.ml.data.spec import Frozen

MAX_MODELS = 200


class RecommendationRequest(Frozen):
    """Rank backbones by how well a target follows from their features."""

    dataset: Annotated[str, Field(max_length=64, description="Id of a ready dataset with labels.")]
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

    @field_validator("resources")
    @classmethod
    def _one_device(cls, resources: Resources) -> Resources:
        if resources.devices > 1:
            msg = "only trainings take several devices: leave devices at 1"
            raise ValueError(msg)
        return resources


class Candidate(Frozen):
    """A backbone, named after one of the models that have it."""

    model: str
    name: str
    version: int
    shared_by: tuple[str, ...] = Field((), description="Other models with the very same weights.")


class Misfit(Frozen):
    """A model that is not ranked, and why."""

    model: str
    name: str
    version: int
    reason: str


class RecommendationConfig(Frozen):
    """What a recommendation's row keeps: the request with every name settled."""

    target: str
    rows: int
    candidates: tuple[Candidate, ...]
    misfits: tuple[Misfit, ...]
    resources: Resources
