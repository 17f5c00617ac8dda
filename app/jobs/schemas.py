"""What a job request says and what a job answers."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, field_validator, model_validator

from app.jobs.attempts import Ending
from app.jobs.states import Status
from app.kit.clock import Timestamp
from app.ml.configs.fields import Integer, Real
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.spec import Frozen
from app.ml.resolution.compatibility import Part
from app.models.refs import MAX_REF, ModelName
from app.sweeps.space import AnyAlgorithm, AnyRange, Direction, RandomSearch

Kind = Literal["preparation", "pretraining", "fine_tuning", "sweep", "evaluation", "recommendation", "estimate"]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ModelRef = Annotated[str, Field(max_length=MAX_REF)]
Metadata = Annotated[dict[ShortText, Annotated[str, StringConstraints(max_length=1000)]], Field(max_length=16)]


class Resources(Frozen):
    """What the job may use."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where the worker has one.")
    max_seconds: Annotated[Real, Field(gt=0, le=1e8)] | None = Field(
        None,
        description="How long its attempts may run together; then it stops at a checkpoint and fails, to be retried.",
    )
    devices: Integer = Field(
        1, ge=1, le=8, description="On how many devices of one worker a training runs: each takes its share of a batch."
    )


Priority = Annotated[Integer, Field(ge=-100, le=100)]
PRIORITY = "Higher ones start first; of equal ones the oldest."


class _Common(Frozen):
    name: ModelName | None = Field(None, description="Name of the model that comes out; null: after the dataset.")
    dataset: Annotated[str, Field(max_length=64, description="Id of a ready dataset.")]
    resources: Resources = Field(default_factory=Resources)
    priority: Priority = Field(0, description=PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")


class PretrainingRequest(_Common, PretrainingConfig):
    """Learn features without labels."""

    kind: Literal["pretraining"]


class FineTuningRequest(_Common, FineTuningConfig):
    """Train heads for labels, on a pretrained backbone or from scratch."""

    kind: Literal["fine_tuning"]
    model: ModelRef | None = Field(
        None, description="The pretrained model: an id, name, name@version or name@alias; null trains from scratch."
    )


BaseRequest = Annotated[PretrainingRequest | FineTuningRequest, Field(discriminator="kind")]
SearchedField = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=200)]
ValidationMetric = Annotated[str, StringConstraints(pattern=r"^val/[^\x00-\x1f]+$", max_length=300)]


class SweepRequest(Frozen):
    """Try many values for some fields of a pretraining or a fine-tuning, and keep the best model."""

    kind: Literal["sweep"]
    name: ModelName | None = Field(None, description="Name of the best model; null: the base's.")
    base: BaseRequest = Field(description="The job whose fields are searched.")
    space: dict[SearchedField, AnyRange] = Field(
        min_length=1, max_length=20, description='By field, such as "training.optimizer.lr": where values come from.'
    )
    algorithm: AnyAlgorithm = Field(default_factory=RandomSearch, description="How values are chosen.")
    trials: Integer = Field(20, ge=1, le=1000, description="How many jobs are tried in all.")
    parallel: Integer = Field(1, ge=1, le=16, description="Trials that are under way at once.")
    metric: Literal["auto"] | ValidationMetric = Field(
        "auto", description="What trials are compared by, on the validation split, such as val/accuracy."
    )
    direction: Literal["auto"] | Direction = Field("auto", description="What is good in it; auto: known metrics.")
    seed: Integer = Field(0, ge=0, le=2**63 - 1, description="Starts the choice of values.")
    priority: Priority = Field(0, description="Of it and of its trials. " + PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")

    @field_validator("base")
    @classmethod
    def _has_no_priority(cls, base: PretrainingRequest | FineTuningRequest) -> PretrainingRequest | FineTuningRequest:
        if base.priority != 0:
            msg = "trials start with the sweep's priority: give it beside base, and leave base.priority out"
            raise ValueError(msg)
        return base


class EvaluationRequest(Frozen):
    """Measure a fine-tuned model on a dataset, or compare it with another one on the same rows."""

    kind: Literal["evaluation"]
    model: ModelRef = Field(description="The model: an id, name, name@version or name@alias.")
    dataset: Annotated[str, Field(max_length=64, description="Id of a ready dataset that the model fits.")]
    split: Part = Field("test", description="Which of its rows.")
    baseline: ModelRef | None = Field(
        None, description="A model to compare it with, metric by metric: better, no evidence or worse."
    )
    resources: Resources = Field(default_factory=Resources)
    priority: Priority = Field(0, description=PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")


JobRequest = Annotated[
    PretrainingRequest | FineTuningRequest | SweepRequest | EvaluationRequest, Field(discriminator="kind")
]


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
    attempts: str
    metrics: str
    checkpoints: str
    curves: str
    dataset: str | None
    trials: str | None


class Job(BaseModel):
    """A job as it is answered."""

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
    """A job's attempts, the first first."""

    object: Literal["list"] = "list"
    data: list[Attempt]
    has_more: Literal[False] = False


class ExtendRequest(Frozen):
    """How much longer a job is to train: give one of the two, the one that its training is counted in."""

    epochs: Annotated[Integer, Field(ge=1, le=100_000)] | None = Field(None, description="Further passes.")
    steps: Annotated[Integer, Field(ge=1, le=100_000_000)] | None = Field(None, description="Further optimizer steps.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            msg = "give either epochs or steps"
            raise ValueError(msg)
        return self


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
