"""What each kind of job says of itself, and the fields that requests share. The kinds are in `app.jobs.kinds`.

A kind is its request: a pydantic class with a literal `kind`, which resolves itself to the columns of a job's row. Its
class variables say what users may do with such a job. What a job *owns* ends, pauses and goes on with it, whatever its
kind (see `app.jobs.transitions`): the jobs whose `sweep_id` is its id, and the dataset whose `job_id` is. That is no
matter of kinds because supervisors end the jobs of dead trainers, and they import no torch, which requests do.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy.orm import Session

from app.errors import ConflictError, ErrorItem, UnprocessableError
from app.jobs.states import Device
from app.ml.errors import ConfigError
from app.ml.fields import Integer, Real
from app.ml.spec import Frozen, WarningItem
from app.models.refs import MAX_REF

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ModelRef = Annotated[str, Field(max_length=MAX_REF)]
DatasetRef = Annotated[str, Field(max_length=200)]  # an id or a name
Metadata = Annotated[dict[ShortText, Annotated[str, StringConstraints(max_length=1000)]], Field(max_length=16)]
Priority = Annotated[Integer, Field(ge=-100, le=100)]
Sharding = Literal["auto", "replicate", "shard"]
Lane = Literal["short", "long"]  # a worker does short jobs, of seconds to minutes, next to a long one
CANNOT_EXTEND = "Only a pretraining or a fine-tuning that has succeeded, and is no trial of a sweep, can go on."
PRIORITY = "Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns."


class Resources(Frozen):
    """What the job may use."""

    device: Device = Field("auto", description="auto: a GPU where the worker has one.")
    max_seconds: Annotated[Real, Field(gt=0, le=1e8)] | None = Field(
        None,
        description="How long its attempts may run together; then it stops at a checkpoint and fails, to be retried. "
        "null: the time limit of its project, GRAFTWORK_JOB_SECONDS.",
    )
    devices: Integer = Field(
        1, ge=1, le=8, description="On how many devices of a worker a training runs: each takes its share of a batch."
    )
    nodes: Integer = Field(
        1,
        ge=1,
        le=64,
        description="How many workers train it together, each on so many devices. It begins once all are free at the "
        "same time; from a checkpoint it goes on with those that are.",
    )
    sharding: Sharding = Field(
        "auto",
        description="How several devices hold weights, gradients and moments. replicate: each has all of them (DDP). "
        "shard: each has its part, and all gather the weights for a step (FSDP2), which takes less memory and more "
        "time. auto: shard where they would take more than half of a GPU's memory.",
    )

    @model_validator(mode="after")
    def _several_devices_shard(self) -> Self:
        if self.sharding == "shard" and self.devices * self.nodes == 1:
            msg = "one device has no others to share weights with: ask for devices 2 or more, or leave sharding at auto"
            raise ValueError(msg)
        return self


class ExtendRequest(Frozen):
    """How much longer a job is to train: give one of the two, the one that its training is counted in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"epochs": 2}]})

    epochs: Annotated[Integer, Field(ge=1, le=100_000)] | None = Field(None, description="Further passes.")
    steps: Annotated[Integer, Field(ge=1, le=100_000_000)] | None = Field(None, description="Further optimizer steps.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            msg = "give either epochs or steps"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class JobColumns:
    """The columns of a new job's row that its request decides; `config` is what its worker works from."""

    kind: str
    config: dict[str, Any]
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    dataset_id: str | None = None
    parent_model_id: str | None = None
    sweep_id: str | None = None
    extends_id: str | None = None
    priority: int = 0
    lane: Lane = "long"
    files: dict[str, Any] | None = None  # {name: {sha256, bytes}} of files that it works from
    warnings: tuple[WarningItem, ...] = ()  # of the request itself, next to those of its dataset


class JobKind(Frozen):
    """A request for a job of one kind. Subclasses declare `kind: Literal["..."]`, and have a worker in `worker.jobs`.

    A class variable `cannot_...` is None where users may do that with such a job, else the sentence that refuses it.
    """

    cannot_pause: ClassVar[str | None] = None
    cannot_retry: ClassVar[str | None] = None
    cannot_extend: ClassVar[str | None] = CANNOT_EXTEND
    is_tracked: ClassVar[bool] = False  # whether such jobs are written to the operator's MLflow server
    if TYPE_CHECKING:  # no field of its own: the order of a subclass's fields is its schema's
        kind: str

    @abstractmethod
    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Check the request against what the project has, and return the columns of its job.

        Raises:
            NotFoundError: there is no such dataset or model.
            ConflictError: the dataset is not ready.
            UnprocessableError: a choice does not fit the data or the model; its place in the request is named.
        """

    @classmethod
    def auxiliary_dataset_of(cls, config: Mapping[str, Any]) -> str | None:
        """Return the id of the other dataset that a job with this stored config reads, None where there is none."""
        del config
        return None

    @classmethod
    def extended(cls, config: dict[str, Any], request: ExtendRequest) -> dict[str, Any]:
        """Return the config of a job that goes on where one with `config` ended.

        Raises:
            ConflictError: no job of this kind can go on.
            UnprocessableError: its training is counted in the other unit.
        """
        del config, request
        raise ConflictError(cls.cannot_extend or CANNOT_EXTEND, code="cannot_extend")

    @classmethod
    def was_solved(cls, checkpoint: Mapping[str, Any]) -> bool:
        """Return whether the training of a checkpoint with this manifest was solved at once: no step follows it."""
        del checkpoint
        return False

    @classmethod
    def links(cls, job_id: str) -> dict[str, str]:
        """Return what a job's `links` name for this kind alone."""
        del job_id
        return {}


def kinds_of(union: Any) -> dict[str, Any]:
    """Return the classes of a discriminated union by their kind, in the order written."""
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["kind"].annotation)[0]: member for member in members}


def does_not_fit(error: ConfigError) -> UnprocessableError:
    """Return the answer to a choice that fits the data or the model badly."""
    item = ErrorItem(loc=["body", *error.loc], msg=error.msg)
    return UnprocessableError(str(error), code="config_does_not_fit", errors=[item])


def one_device(resources: Resources) -> Resources:
    """Validate the resources of a job that is no training: it runs on one device."""
    if resources.devices > 1:
        msg = "only trainings take several devices: leave devices at 1"
        raise ValueError(msg)
    if resources.nodes > 1:
        msg = "only trainings take several workers: leave nodes at 1"
        raise ValueError(msg)
    return resources
