"""Sweep: many values are tried for some fields of a training, and the best model is kept.

Before a sweep is queued, every end and every choice of its space must make a valid request.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, field_validator
from sqlalchemy.orm import Session

from app.datasets.access import find_dataset, ready_spec
from app.errors import ErrorItem, GraftworkError, UnprocessableError
from app.jobs.interface import PRIORITY, JobColumns, JobKind, Metadata, Priority
from app.jobs.kinds.any_training import AnyTraining, located_in_base
from app.jobs.kinds.fine_tuning import FineTuningRequest
from app.jobs.kinds.pretraining import PretrainingRequest
from app.ml.evaluation.metric_properties import metric_properties
from app.ml.fields import Integer
from app.ml.interfaces import Decision
from app.ml.kinds.heads import AnyHead
from app.ml.spec import DataSpec
from app.models.refs import ModelName
from app.sweeps.candidates import candidate
from app.sweeps.config import SweepConfig
from app.sweeps.space import AnyAlgorithm, AnyRange, Direction, RandomSearch, combinations

MAX_PROBES = 200
_REQUEST: TypeAdapter[AnyTraining] = TypeAdapter(AnyTraining)
_FIXED = ("kind", "dataset", "name", "metadata", "priority", "resources", "transfer_report")
Resolve = Callable[[AnyTraining], object]  # raises where the request is refused

SearchedField = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=200)]
ValidationMetric = Annotated[str, StringConstraints(pattern=r"^val/[^\x00-\x1f]+$", max_length=300)]
CANNOT_RETRY = "What a sweep has tried is gone with its end: submit the sweep again."


class SweepRequest(JobKind):
    """Try many values for some fields of a pretraining or a fine-tuning, and keep the best model."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "sweep",
                    "base": {"kind": "pretraining", "dataset": "flowers", "training": {"epochs": 2}},
                    "space": {"training.optimizer.lr": {"kind": "log_uniform", "low": 0.0001, "high": 0.01}},
                    "trials": 2,
                }
            ]
        }
    )

    cannot_retry: ClassVar[str | None] = CANNOT_RETRY
    is_tracked: ClassVar[bool] = True

    kind: Literal["sweep"]
    name: ModelName | None = Field(None, description="Name of the best model; null: the base's.")
    base: AnyTraining = Field(description="The job whose fields are searched.")
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
            msg = "trials start with the sweep's priority: give it next to base, and leave base.priority out"
            raise ValueError(msg)
        return base

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Check the base and the space. The base's model and datasets are fixed, whatever their names mean later."""
        dataset = find_dataset(session, project_id, self.base.dataset)
        parent = self.base.parent(session, project_id)
        base = self._base_with_ids(session, project_id)
        if parent is not None:
            base = base.model_copy(update={"model": parent.id})
        request = self.model_copy(update={"base": base})
        config = resolve_sweep(request, ready_spec(dataset), lambda base: base.resolve(session, project_id))
        return JobColumns(
            kind=self.kind,
            name=self.name or self.base.model_name(session, dataset),
            config=config.model_dump(mode="json"),
            metadata=self.metadata,
            dataset_id=dataset.id,
            parent_model_id=parent.id if parent else None,
            priority=self.priority,
        )

    def _base_with_ids(self, session: Session, project_id: str) -> PretrainingRequest | FineTuningRequest:
        try:
            return self.base.with_dataset_ids(session, project_id)
        except UnprocessableError as error:
            raise located_in_base(error) from None

    @classmethod
    def links(cls, job_id: str) -> dict[str, str]:
        """Return where its trials are listed."""
        return {"trials": f"/v1/jobs?sweep={job_id}"}


def resolve_sweep(request: SweepRequest, spec: DataSpec, resolve: Resolve) -> SweepConfig:
    """Return the sweep's config with nothing left open. `resolve` resolves a base request, or raises.

    Raises:
        UnprocessableError: the base, the space or the metric does not fit; each place is named.
    """
    _check_base(request, resolve)
    _check_validation(request.base, spec)
    _check_fields(request)
    _check_values(request, resolve)
    metric, direction, decisions = _resolve_metric(request)
    trials = request.trials
    every = combinations(request.space)
    if every is not None and len(every) < trials:
        trials = len(every)
        reason = f"the space has {trials} combinations, and each of them is tried once, not {request.trials} trials"
        decisions.append(Decision(field="trials", value=trials, reason=reason, option="wider `space`"))
    return SweepConfig(
        base=request.base.model_dump(mode="json", exclude_unset=True),
        space=request.space,
        algorithm=request.algorithm,
        trials=trials,
        parallel=request.parallel,
        metric=metric,
        direction=direction,
        seed=request.seed,
        decisions=tuple(decisions),
    )


def trial_request(base: AnyTraining | dict[str, Any], values: dict[str, Any]) -> AnyTraining:
    """Return the request of the trial that tries `values`.

    Raises:
        UnprocessableError: they do not make a valid one.
    """
    if isinstance(base, dict):
        base = _REQUEST.validate_python(base)
    try:
        return _REQUEST.validate_python(candidate(base, values))
    except LookupError as error:
        raise UnprocessableError(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        msg = f"{place}: {first['msg'].removeprefix('Value error, ')}"
        raise UnprocessableError(msg) from None


def _refuse(loc: list[str | int], msg: str) -> UnprocessableError:
    place = ".".join(str(part) for part in loc)
    item = ErrorItem(loc=["body", *loc], msg=msg)
    return UnprocessableError(f"{place}: {msg}", code="sweep_does_not_fit", errors=[item])


def _check_base(request: SweepRequest, resolve: Resolve) -> None:
    if isinstance(request.base, FineTuningRequest) and request.base.heads == "inherit":
        raise _refuse(["base", "heads"], "list the heads: trials are compared by what they are judged by")
    if isinstance(request.base, FineTuningRequest) and request.base.transfer_report is not None:
        msg = "every trial would train the controls: leave this out, and fine-tune once more with what was found best"
        raise _refuse(["base", "transfer_report"], msg)
    try:
        resolve(request.base)
    except UnprocessableError as error:
        raise located_in_base(error) from None


def _listed_heads(base: AnyTraining) -> tuple[AnyHead, ...]:
    """The heads of a fine-tuning that lists them; none of another training."""
    return base.heads if isinstance(base, FineTuningRequest) and base.heads != "inherit" else ()


def _check_validation(base: AnyTraining, spec: DataSpec) -> None:
    """Trials are compared on the validation split and on nothing else."""
    heads = _listed_heads(base)
    if any(head.targets for head in heads):
        for index, head in enumerate(heads):
            for target in head.targets:
                if spec.labelled.get(target, spec.rows).get("validation", 0) < 1:
                    msg = f"no validation row carries target {target!r}, and trials are compared there"
                    raise _refuse(["base", "heads", index, "target"], msg)
    elif spec.rows.get("validation", 0) < 1:
        raise _refuse(["base", "dataset"], "it has no validation rows, and trials are compared there: split it")


def _check_fields(request: SweepRequest) -> None:
    fields = sorted(request.space)
    for field in fields:
        if field.split(".")[0] in _FIXED or field.endswith(".target"):
            msg = "this is the same in all trials: search what is learnt and how"
            raise _refuse(["space", field], msg)
        inside = next((other for other in fields if other.startswith(f"{field}.")), None)
        if inside is not None:
            raise _refuse(["space", inside], f"{field!r} is searched as a whole already")
    probes = sum(len(entry.probes()) for entry in request.space.values())
    if probes > MAX_PROBES:
        raise _refuse(["space"], f"there are {probes} choices and ends in all, at most {MAX_PROBES}")


def _check_values(request: SweepRequest, resolve: Resolve) -> None:
    """Try each end and each choice, all other fields being at their first."""
    for field, values in _probes(request):
        try:
            resolve(trial_request(request.base, values))
        except GraftworkError as error:
            raise _refuse(["space", field], f"{_shown(values[field])} is refused: {error.detail}") from None


def _probes(request: SweepRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    first = {field: entry.probes()[0] for field, entry in request.space.items()}
    for field, entry in request.space.items():
        for value in entry.probes():
            yield field, {**first, field: value}


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) < 100 else f"{repr(value)[:100]} ..."  # noqa: PLR2004 - one line


def _resolve_metric(request: SweepRequest) -> tuple[str, Direction, list[Decision]]:
    decisions = []
    metric = request.metric
    if metric == "auto":
        metric, reason = _headline(request)
        decisions.append(Decision(field="metric", value=metric, reason=reason))
    direction = request.direction
    if direction == "auto":
        direction = _direction(metric)
        decisions.append(Decision(field="direction", value=direction, reason=f"what is good in {metric}"))
    return metric, direction, decisions


def _headline(request: SweepRequest) -> tuple[str, str]:
    base = request.base
    heads = _listed_heads(base)
    lone = heads[0] if len(heads) == 1 else None
    if lone is not None and lone.headline_metric is not None:
        if len(lone.targets) > 1:
            return "val/loss", "the loss of the validation split: the targets may have different units"
        return f"val/{lone.headline_metric}", f"what a {lone.kind} is judged by"
    changing = "heads" if isinstance(base, FineTuningRequest) else "method"
    for field in request.space:
        if field.split(".")[0] == changing:
            msg = f"val/loss means another thing with another {field}: name a metric that all trials share"
            raise _refuse(["metric"], msg)
    return "val/loss", "the loss of the validation split"


def _direction(metric: str) -> Literal["minimize", "maximize"]:
    name = metric.rsplit("/", 1)[-1]
    known = metric_properties(name)
    if known is None or known.direction is None:
        raise _refuse(["direction"], f"say minimize or maximize: it is not known which {name} is better")
    return known.direction
