"""What a job answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.jobs.attempts import Ending
from app.jobs.kinds import Kind
from app.jobs.states import Status
from app.kit.clock import Timestamp
from app.ml.spec import WarningItem


class Progress(BaseModel):
    """How far a running job is."""

    fraction: float
    step: int
    total_steps: int
    epoch: int
    eta_seconds: float | None
    loss: float | None = Field(
        default=None, description="Of a training: the mean training loss of the steps since the report before."
    )
    kept_step: int | None = Field(
        default=None, description="Of a training that has ended: the step whose weights it kept; else null."
    )


class JobErrorAnswer(BaseModel):
    """Why a job failed."""

    code: str
    category: Literal["user", "platform", "transient"]
    message: str
    param: str | None


class Output(BaseModel):
    """What a job made."""

    model: str


class JobFile(BaseModel):
    """A file of a job, and where it is downloaded."""

    object: Literal["file"] = "file"
    name: str
    bytes: int
    sha256: str
    link: str


class JobFileList(BaseModel):
    """The files of a job: results of a batch prediction, or the file that it works from until they are there."""

    object: Literal["list"] = "list"
    data: list[JobFile]
    has_more: Literal[False] = False


class JobLinks(BaseModel):
    """Addresses of what belongs to a job."""

    self: str
    events: str
    attempts: str
    metrics: str
    checkpoints: str
    curves: str
    files: str
    dataset: str | None
    trials: str | None


class JobSummary(BaseModel):
    """A job as lists show it: without its config and its metrics."""

    id: str
    object: Literal["job"] = "job"
    kind: Kind
    name: str | None
    status: Status
    phase: str | None
    progress: Progress | None
    priority: int
    queue_position: int | None
    waiting_for: str | None
    attempt: int
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    dataset: str | None
    model: str | None
    sweep: str | None
    extends: str | None
    outputs: list[Output]
    warnings: list[WarningItem] = Field(
        [],
        description="What was lost or is doubtful, in its dataset and in its own work; empty: nothing is known to be.",
    )
    error: JobErrorAnswer | None
    metadata: dict[str, str]
    links: JobLinks


class Job(JobSummary):
    """A job as it is answered."""

    config: dict[str, Any]
    metrics: dict[str, Any] | None


class JobEvent(BaseModel):
    """One line of a job's story."""

    seq: int
    created_at: Timestamp
    level: Literal["info", "warning", "error"]
    type: str
    message: str
    data: dict[str, Any]


class EventList(BaseModel):
    """Events in order; ask again with `after` = the last `seq`."""

    object: Literal["list"] = "list"
    data: list[JobEvent]
    has_more: bool
    removed: int = Field(0, description="How many of its first events are kept no more (GRAFTWORK_EVENT_DAYS).")


class ProjectEvent(JobEvent):
    """An event of one of a project's jobs."""

    id: str = Field(description="Where a stream or a list goes on: its time, its job, and its number there.")
    object: Literal["event"] = "event"
    job: str
    job_kind: Kind


class ProjectEventList(BaseModel):
    """Events of all jobs, by time; ask again with `after` = the last `id`."""

    object: Literal["list"] = "list"
    data: list[ProjectEvent]
    has_more: bool
    removed_until: Timestamp | None = Field(
        None, description="Of jobs that ended up to then only the last event is kept (GRAFTWORK_EVENT_DAYS); null: all."
    )


class Attempt(BaseModel):
    """One execution of a job; `ending` is null while it runs, and an attempt that is not charged does not count."""

    object: Literal["attempt"] = "attempt"
    number: Annotated[int, Field(validation_alias="token")]
    worker: str
    started_at: Timestamp
    ended_at: Timestamp | None
    ending: Ending | None
    charged: bool
    message: str | None


class AttemptList(BaseModel):
    """A job's attempts, oldest first."""

    object: Literal["list"] = "list"
    data: list[Attempt]
    has_more: Literal[False] = False


class MetricPoint(BaseModel):
    """What was measured at one step."""

    step: int
    epoch: int
    created_at: Timestamp
    values: dict[str, float | None]


class MetricList(BaseModel):
    """Measurements in order of steps."""

    object: Literal["list"] = "list"
    data: list[MetricPoint]
    has_more: bool
    removed: bool = Field(
        default=False, description="Whether its measurements are kept no more (GRAFTWORK_METRIC_DAYS)."
    )


class Checkpoint(BaseModel):
    """A resumable state of a job."""

    id: str
    object: Literal["checkpoint"] = "checkpoint"
    step: int
    epoch: int
    sha256: str
    bytes: int
    created_at: Timestamp


class CheckpointList(BaseModel):
    """The checkpoints that are kept, newest first."""

    object: Literal["list"] = "list"
    data: list[Checkpoint]
    has_more: Literal[False] = False
