"""Targets that something can be learned from."""

from app.ml.errors import ConfigError, Location
from app.ml.spec import DataSpec, TargetSpec

_MIN_CLASSES = 2


def learnable_target(spec: DataSpec, name: str, place: Location) -> TargetSpec:
    """Return the dataset's target of that name; `place` is the field of the request that names it.

    Raises `ConfigError` where there is none, where it has one class only, or where no train row carries it.
    """
    target = spec.target(name)
    if target is None:
        known = ", ".join(repr(target.name) for target in spec.targets[:10]) or "none: upload labels"
        raise ConfigError(place, f"the dataset has no target {name!r}; it has {known}")
    if target.type == "category" and len(target.classes) < _MIN_CLASSES:
        raise ConfigError(place, f"target {name!r} has one class only: there is nothing to learn")
    if spec.labelled.get(name, spec.rows).get("train", 0) < 1:
        raise ConfigError(place, f"no training row carries target {name!r}")
    return target
