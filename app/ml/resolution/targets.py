"""Targets that something can be learned from."""

import json
from difflib import get_close_matches

from app.ml.errors import ConfigError, Location
from app.ml.spec import DataSpec, TargetSpec

MAX_SHOWN = 10
_MIN_CLASSES = 2


def no_such_target(spec: DataSpec, name: str, of_model: str = "") -> str:
    """Return the sentence that says that a dataset lacks a target, and what makes its column one; see `of_model`.

    `of_model` is put after the target's name.
    """
    known = ", ".join(repr(target.name) for target in spec.targets[:MAX_SHOWN]) or "none: upload labels"
    sentence = f"the dataset has no target {name!r}{of_model}; it has {known}"
    if not any(column.name == name for column in spec.columns):
        known_names = [*(column.name for column in spec.columns), *(target.name for target in spec.targets)]
        names = {known_name.casefold(): known_name for known_name in known_names}
        close = get_close_matches(name.casefold(), names, 1)
        return f"{sentence}; did you mean {names[close[0]]!r}?" if close else sentence
    version = json.dumps({"options": {"columns": {name: "target"}}}, ensure_ascii=False)
    return (
        f"{sentence}. {name!r} is one of its input columns: make it a target by POST /v1/datasets/{{id}}/versions "
        f"with {version}"
    )


def learnable_target(spec: DataSpec, name: str, place: Location) -> TargetSpec:
    """Return the dataset's target of that name; `place` is the field of the request that names it.

    Raises `ConfigError` where there is none, where it has one class only, or where no train row carries it.
    """
    target = spec.target(name)
    if target is None:
        raise ConfigError(place, no_such_target(spec, name))
    if target.type == "category" and len(target.classes) < _MIN_CLASSES:
        raise ConfigError(place, f"target {name!r} has one class only: there is nothing to learn")
    if spec.labelled.get(name, spec.rows).get("train", 0) < 1:
        raise ConfigError(place, f"no training row carries target {name!r}")
    return target
