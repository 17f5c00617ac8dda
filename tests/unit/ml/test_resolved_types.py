"""After resolution nothing is "auto", by the types: their fields are walked down to the last one."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.interfaces.resolvable import ResolvedKinds
from app.ml.kinds.estimators.base import EstimatorRequest
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.models.bundle import Manifest

# Measured on the rows themselves, in the trainer: there "auto" is a choice of its own, and stays one.
CHOSEN_IN_THE_TRAINER = {(LabelPropagationConfig, "use"), (LabelPropagationConfig, "shares")}
# Heads keep their class when their fields are settled, and so do the estimators in them.
SETTLED_WITH_ITS_HEAD = {(Regressor, "transform")}


def autos(kind: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """The fields below a class, by class and name, whose annotation allows "auto"."""
    if kind in seen:
        return
    seen.add(kind)
    for name, field in kind.model_fields.items():
        if (kind, name) in CHOSEN_IN_THE_TRAINER | SETTLED_WITH_ITS_HEAD or issubclass(kind, EstimatorRequest):
            continue
        for part in parts(field.annotation, field.metadata):
            if part == "auto":
                yield f"{kind.__name__}.{name}"
            elif isinstance(part, type) and issubclass(part, BaseModel):
                yield from autos(part, seen)


def parts(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> Iterator[Any]:
    """The classes and literal values that an annotation is made of."""
    listed = next((item for item in metadata if isinstance(item, ResolvedKinds)), None)
    if listed is not None:
        yield from listed.members()
    elif hasattr(annotation, "__metadata__"):
        yield from parts(annotation.__origin__, annotation.__metadata__)
    elif get_origin(annotation) is Literal or not get_args(annotation):
        yield from get_args(annotation) or (annotation,)
    else:
        for argument in get_args(annotation):
            yield from parts(argument)


@pytest.mark.parametrize("kind", [ResolvedPretraining, ResolvedFineTuning, Manifest])
def test_a_resolved_type_cannot_hold_auto(kind: type[BaseModel]) -> None:
    seen: set[type[BaseModel]] = set()
    assert list(autos(kind, seen)) == []
    assert len(seen) > 20, "the walk has reached the kinds"


@pytest.mark.parametrize("kind", [PretrainingConfig, FineTuningConfig])
def test_the_walk_finds_auto_where_it_may_be(kind: type[BaseModel]) -> None:
    fields = set(autos(kind, set()))
    assert {f"{kind.__name__}.backbone", "Mlp.hidden", "TrainingConfig.batch_size", "AdamW.lr"} <= fields


@pytest.mark.parametrize("family", ["preprocessing", "backbones", "methods", "supervision", "strategies"])
def test_every_kind_has_a_resolved_class_of_the_same_fields(family: str) -> None:
    for name, request in kinds(FAMILIES[family]).items():
        resolved: Any = request.resolved_type()  # type: ignore[attr-defined]
        assert list(resolved.model_fields) == list(request.model_fields)
        assert resolved.model_fields["kind"].default == name
