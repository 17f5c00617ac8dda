"""What administrators see of projects and of their jobs: no name, config, metric or data of a job."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.jobs.kinds import Kind
from app.jobs.states import Status
from app.kit.clock import Timestamp
from app.ml.fields import Integer, Real
from app.ml.spec import Frozen

_NOT_NULLABLE = "project"
_MAX = 2**53


class JobOfProject(BaseModel):
    """A job of any project, as administrators see it."""

    id: str
    object: Literal["job"] = "job"
    project: str = Field(description="Name of the project that it belongs to.")
    kind: Kind
    status: Status
    priority: int = Field(description="Its place among the jobs of its project.")
    urgency: int = Field(description="Its place among the jobs of all projects; 0: projects take turns.")
    queue_position: int | None
    waiting_for: str | None
    attempt: int
    worker: str | None = Field(description="The worker that holds it, or held it last.")
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


class UrgencyRequest(Frozen):
    """How urgent a job is among the jobs of all projects."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"urgency": 10}]})

    urgency: Annotated[Integer, Field(ge=-100, le=100)] = Field(
        description="Higher ones start before those of any other project; 0: its project waits for its turn."
    )


class ProjectLimitsAnswer(BaseModel):
    """The limits that hold for a project; 0 is none."""

    max_running_jobs: int
    job_seconds: float
    quota_bytes: int
    quota_rows: int


class Project(BaseModel):
    """A project, its limits and its jobs."""

    id: str
    object: Literal["project"] = "project"
    name: str
    created_at: Timestamp
    limits: ProjectLimitsAnswer
    own_limits: list[str] = Field(description="Those of its limits that are its own, and not the service's defaults.")
    running_jobs: int
    queued_jobs: int = Field(
        description="Jobs that wait for a worker; sweeps that wait for their trials do not. At most 1000 are counted."
    )


class ProjectRequest(Frozen):
    """New limits of a project. What is left out stays; null is the service's default, 0 is none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"project": "default", "max_running_jobs": 4}]})

    project: Annotated[str, Field(max_length=200, description="Id or name of the project.")]
    max_running_jobs: Annotated[Integer, Field(ge=0, le=1_000_000)] | None = Field(
        None, description="Maximum number of its jobs that run at the same time."
    )
    job_seconds: Annotated[Real, Field(ge=0, le=1e8)] | None = Field(
        None, description="Time limit of a job whose request names none."
    )
    quota_bytes: Annotated[Integer, Field(ge=0, le=_MAX)] | None = Field(
        None, description="Maximum disk space of its files and labelled rows."
    )
    quota_rows: Annotated[Integer, Field(ge=0, le=_MAX)] | None = Field(
        None, description="Maximum number of rows of its datasets, and labelled ones."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> "ProjectRequest":
        if self.model_fields_set == {_NOT_NULLABLE}:
            msg = "name at least one limit to change"
            raise ValueError(msg)
        return self
