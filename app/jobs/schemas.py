"""What a job request says and what a job answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from app.jobs.states import Status
from app.kit.clock import Timestamp
from app.ml.configs import FineTuningConfig, PretrainingConfig
from app.ml.spec import Frozen
from app.models.refs import ModelName

Kind = Literal["preparation", "pretraining", "fine_tuning"]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Metadata = Annotated[dict[ShortText, Annotated[str, StringConstraints(max_length=1000)]], Field(max_length=16)]


class Resources(Frozen):
    """What the job may use."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where the worker has one.")


class _Common(Frozen):
    name: ModelName | None = Field(None, description="Name of the model that comes out; null: after the dataset.")
    dataset: Annotated[str, Field(max_length=64, description="Id of a ready dataset.")]
    resources: Resources = Field(default_factory=Resources)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")


class PretrainingRequest(_Common, PretrainingConfig):
    """Learn features without labels."""

    kind: Literal["pretraining"]


class FineTuningRequest(_Common, FineTuningConfig):
    """Train heads for labels, on a pretrained backbone or from scratch."""

    kind: Literal["fine_tuning"]
    model: Annotated[str, Field(max_length=250)] | None = Field(
        None, description="The pretrained model: an id, name, name@version or name@alias; null trains from scratch."
    )


JobRequest = Annotated[PretrainingRequest | FineTuningRequest, Field(discriminator="kind")]


class Progress(BaseModel):
    """How far a running job is."""

    fraction: float
    step: int
    total_steps: int
    epoch: int
    eta_seconds: float | None


class JobErrorAnswer(BaseModel):
    """Why a job failed."""

    code: str
    category: Literal["user", "platform", "transient"]
    message: str
    param: str | None


class Output(BaseModel):
    """What a job made."""

    model: str


class JobLinks(BaseModel):
    """Where to look further."""

    self: str
    events: str
    metrics: str
    checkpoints: str
    dataset: str | None


class Job(BaseModel):
    """A job as it is answered."""

    id: str
    object: Literal["job"] = "job"
    kind: Kind
    name: str | None
    status: Status
    phase: str | None
    progress: Progress | None
    queue_position: int | None
    attempt: int
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    dataset: str | None
    model: str | None
    config: dict[str, Any]
    outputs: list[Output]
    metrics: dict[str, Any] | None
    error: JobErrorAnswer | None
    metadata: dict[str, str]
    links: JobLinks


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
