"""A candidate is the base with some places replaced."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from app.errors import UnprocessableError
from app.jobs.kinds import AnyTraining
from app.jobs.kinds.sweep import trial_request
from app.sweeps.candidates import candidate

HEADS = [{"kind": "classifier", "target": "label"}]


def base(**fields: Any) -> Any:
    body = {"kind": "fine_tuning", "dataset": "ds_1", "heads": HEADS, **fields}
    return TypeAdapter(AnyTraining).validate_python(body)


def test_what_the_base_leaves_open_stays_open() -> None:
    assert candidate(base(), {}) == {"kind": "fine_tuning", "dataset": "ds_1", "heads": HEADS}


def test_a_place_that_is_not_there_is_made_with_the_kind_it_would_have_had() -> None:
    found = candidate(base(), {"training.optimizer.lr": 0.1})
    assert found["training"] == {"optimizer": {"kind": "adamw", "lr": 0.1}}


def test_what_stands_beside_a_searched_field_stays() -> None:
    given = base(training={"optimizer": {"kind": "sgd", "lr": 1, "momentum": 0.5}, "batch_size": 7})
    found = candidate(given, {"training.optimizer.lr": 0.1})
    assert found["training"]["optimizer"] == {"kind": "sgd", "lr": 0.1, "momentum": 0.5}
    assert found["training"]["batch_size"] == 7


def test_another_kind_brings_its_own_defaults_and_the_same_kind_keeps_what_was_given() -> None:
    given = base(training={"optimizer": {"kind": "sgd", "lr": 1, "momentum": 0.5}})
    both = {"training.optimizer.lr": 0.1, "training.optimizer.kind": "adam"}
    assert candidate(given, both)["training"]["optimizer"] == {"kind": "adam", "lr": 0.1}
    same = {"training.optimizer.kind": "sgd"}
    assert candidate(given, same)["training"]["optimizer"] == {"kind": "sgd", "lr": 1, "momentum": 0.5}
    assert candidate(base(strategy="auto"), {"strategy.kind": "full"})["strategy"] == {"kind": "full"}


def test_a_place_in_a_list() -> None:
    assert candidate(base(), {"heads.0.dropout": 0.5})["heads"] == [{**HEADS[0], "dropout": 0.5}]
    for bad in ("heads.1.dropout", "heads.x", "heads.00000000000000000009"):
        with pytest.raises(LookupError, match="there is no"):
            candidate(base(), {bad: 0.5})


def test_steps_and_epochs_displace_each_other() -> None:
    given = base(training={"batch_size": 8})
    request = trial_request(given, {"training.steps": 5})
    assert (request.training.steps, request.training.epochs) == (5, None)
    request = trial_request(base(training={"steps": 8}), {"training.epochs": 5})
    assert (request.training.steps, request.training.epochs) == (None, 5)


@pytest.mark.parametrize("field", ["heads.kind", "training.optimizer.lr.x", "training.seed.kind", "heads.0.kind.x"])
def test_nonsense_is_refused_and_never_an_accident(field: str) -> None:
    with pytest.raises(UnprocessableError):
        trial_request(base(training={"optimizer": {"kind": "sgd", "lr": 1}, "seed": 3}), {field: 1})


def test_the_base_is_left_as_it_was() -> None:
    given = base(training={"optimizer": {"kind": "sgd", "lr": 1}})
    before = given.model_dump()
    candidate(given, {"training.optimizer.lr": 3, "heads.0.dropout": 0.2})
    assert given.model_dump() == before


def test_a_stored_base_gives_the_same_request() -> None:
    given = base(training={"batch_size": 8})
    values = {"training.optimizer.lr": 0.5}
    stored = given.model_dump(mode="json", exclude_unset=True)
    assert trial_request(stored, values) == trial_request(given, values)
