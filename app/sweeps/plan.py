"""The checks before a sweep is queued: every end and every choice of its space must make a valid request."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from app.errors import ErrorItem, GraftworkError, UnprocessableError
from app.jobs.schemas import BaseRequest, FineTuningRequest, SweepRequest
from app.ml.data.spec import DataSpec, Frozen
from app.ml.evaluation.figures import figure
from app.ml.interfaces import Decision
from app.sweeps.candidates import candidate
from app.sweeps.space import AnyAlgorithm, AnyRange, Direction

MAX_PROBES = 200
_REQUEST: TypeAdapter[BaseRequest] = TypeAdapter(BaseRequest)
_FIXED = ("kind", "dataset", "name", "metadata", "priority", "resources", "transfer_report")
Settle = Callable[[BaseRequest], dict[str, Any]]


class SweepConfig(Frozen):
    """What a sweep's row keeps: the request with nothing left open."""

    base: dict[str, Any]
    space: dict[str, AnyRange]
    algorithm: AnyAlgorithm
    trials: int
    parallel: int
    metric: str
    direction: Direction
    seed: int
    decisions: tuple[Decision, ...] = ()

    @property
    def maximize(self) -> bool:
        """Whether more is better."""
        return self.direction == "maximize"


def requested(base: BaseRequest | dict[str, Any], values: dict[str, Any]) -> BaseRequest:
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


def resolve(request: SweepRequest, spec: DataSpec, settle: Settle) -> SweepConfig:
    """Settle what is left open. `settle` resolves a base request, or raises.

    Raises:
        UnprocessableError: the base, the space or the metric does not fit; each place is named.
    """
    _check_base(request, settle)
    _check_validation(request.base, spec)
    _check_fields(request)
    _check_values(request, settle)
    metric, direction, decisions = _settle_metric(request)
    return SweepConfig(
        base=request.base.model_dump(mode="json", exclude_unset=True),
        space=request.space,
        algorithm=request.algorithm,
        trials=request.trials,
        parallel=request.parallel,
        metric=metric,
        direction=direction,
        seed=request.seed,
        decisions=tuple(decisions),
    )


def _refuse(loc: list[str | int], msg: str) -> UnprocessableError:
    place = ".".join(str(part) for part in loc)
    item = ErrorItem(loc=["body", *loc], msg=msg)
    return UnprocessableError(f"{place}: {msg}", code="sweep_does_not_fit", errors=[item])


def _check_base(request: SweepRequest, settle: Settle) -> None:
    if isinstance(request.base, FineTuningRequest) and request.base.transfer_report is not None:
        msg = "every trial would train the controls: leave this out, and fine-tune once more with what was found best"
        raise _refuse(["base", "transfer_report"], msg)
    try:
        settle(request.base)
    except UnprocessableError as error:
        errors = [item.model_copy(update={"loc": ["body", "base", *item.loc[1:]]}) for item in error.errors]
        msg = f"base.{error.detail}"
        raise UnprocessableError(msg, code=error.code, errors=errors) from None


def _check_validation(base: BaseRequest, spec: DataSpec) -> None:
    """Trials are compared on the validation split and on nothing else."""
    labelled = isinstance(base, FineTuningRequest) and any(head.targets for head in base.heads)
    if isinstance(base, FineTuningRequest) and labelled:
        for index, head in enumerate(base.heads):
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


def _check_values(request: SweepRequest, settle: Settle) -> None:
    """Try each end and each choice, all other fields being at their first."""
    for field, values in _probes(request):
        try:
            settle(requested(request.base, values))
        except GraftworkError as error:
            raise _refuse(["space", field], f"{_shown(values[field])} is refused: {error.detail}") from None


def _probes(request: SweepRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    first = {field: entry.probes()[0] for field, entry in request.space.items()}
    for field, entry in request.space.items():
        for value in entry.probes():
            yield field, {**first, field: value}


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) < 100 else f"{repr(value)[:100]} ..."  # noqa: PLR2004 - one line


def _settle_metric(request: SweepRequest) -> tuple[str, Direction, list[Decision]]:
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
    lone = base.heads[0] if isinstance(base, FineTuningRequest) and len(base.heads) == 1 else None
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
    known = figure(name)
    if known is None or known.direction is None:
        raise _refuse(["direction"], f"say minimize or maximize: it is not known which {name} is better")
    return known.direction
