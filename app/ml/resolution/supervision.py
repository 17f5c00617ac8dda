"""Which labels may join a pretraining, and what they weigh."""

import math

from app.ml.data.spec import DataSpec, TargetSpec
from app.ml.errors import ConfigError, Location
from app.ml.interfaces import Decision, ResolutionContext
from app.ml.kinds.methods import AnyMethod
from app.ml.kinds.supervision import AnySupervision

_SHARE = 0.1  # of a row's values: Kingma et al., 2014, give the labels a tenth too


def resolve_supervision(
    choice: AnySupervision | None, method: AnyMethod, spec: DataSpec, context: ResolutionContext
) -> tuple[AnySupervision | None, tuple[Decision, ...]]:
    """Resolve the weight. Raises `ConfigError` for a target that the dataset or the kind refuses."""
    if choice is None:
        return None, ()
    target = resolve_target(spec, choice.target, ("labels", "target"))
    if target.type not in choice.accepts:
        msg = f"{choice.kind} learns from classes, and target {target.name!r} is a {target.type}: use supervised"
        raise ConfigError(("labels", "kind"), msg)
    if choice.weight != "auto":
        return choice, ()
    weight, reason = _weight(method, context)
    resolved = choice.model_copy(update={"weight": weight})
    return resolved, (Decision(field="labels.weight", value=weight, reason=reason),)


def resolve_target(spec: DataSpec, name: str, place: Location) -> TargetSpec:
    """The target, if there is something to learn from it. Raises `ConfigError`."""
    target = spec.target(name)
    if target is None:
        known = ", ".join(repr(one.name) for one in spec.targets[:10]) or "none: upload labels"
        raise ConfigError(place, f"the dataset has no target {name!r}; it has {known}")
    if target.type == "category" and len(target.classes) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise ConfigError(place, f"target {name!r} has one class only: there is nothing to learn")
    if spec.labelled.get(name, spec.rows).get("train", 0) < 1:
        raise ConfigError(place, f"no training row carries target {name!r}")
    return target


def _weight(method: AnyMethod, context: ResolutionContext) -> tuple[float, str]:
    defaults = method.training_defaults(context)
    if defaults is None or not defaults.sums_values:
        return 1.0, f"as much as {method.kind} itself"
    values = math.prod(context.shape)
    return max(1.0, _SHARE * values), f"{method.kind} sums over the {values} values of a row"
