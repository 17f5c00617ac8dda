"""Counts of how the answers of a model and of its shadow differ. No input and no answer is kept, only sums."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel

Answer = Mapping[str, Any]


def _sums(first: BaseModel, second: BaseModel, fields: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(first, name) + getattr(second, name) for name in fields}


class HeadCounts(BaseModel):
    """Of one head."""

    rows: int = 0
    labelled: int = 0  # rows that both answered with a label
    disagreements: int = 0  # of these, whose labels differ
    difference: float = 0.0  # sum over rows of the mean absolute difference of their numbers

    def plus(self, other: Self) -> Self:
        """Return the sum of both."""
        return self.model_copy(
            update={name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields}
        )


class Counts(BaseModel):
    """Of a model and its shadow."""

    requests: int = 0  # that both answered
    rows: int = 0
    dropped: int = 0  # that the shadow had no time for
    errors: int = 0  # that the shadow could not answer
    seconds: float = 0.0  # of the model, for what both answered
    shadow_seconds: float = 0.0
    heads: dict[str, HeadCounts] = {}

    def plus(self, other: Self) -> Self:
        """Return the sum of both."""
        fields = type(self).model_fields.keys() - {"heads"}
        heads = {
            key: self.heads.get(key, HeadCounts()).plus(other.heads.get(key, HeadCounts()))
            for key in {**self.heads, **other.heads}
        }
        return self.model_copy(
            update={name: getattr(self, name) + getattr(other, name) for name in fields} | {"heads": heads}
        )


def compare(answers: Sequence[Answer], shadow_answers: Sequence[Answer]) -> dict[str, HeadCounts]:
    """Compare the answers {head: answer} of both to the same rows, head by head that both have."""
    counts: dict[str, HeadCounts] = {}
    for answer, shadow_answer in zip(answers, shadow_answers, strict=True):
        for key in answer.keys() & shadow_answer.keys():
            counts[key] = counts.get(key, HeadCounts()).plus(_of_row(answer[key], shadow_answer[key]))
    return counts


def _of_row(answer: Answer, shadow_answer: Answer) -> HeadCounts:
    label, shadow_label = _label(answer), _label(shadow_answer)
    is_labelled = label is not None and shadow_label is not None
    numbers, shadow_numbers = _numbers(answer), _numbers(shadow_answer)
    names = numbers.keys() | shadow_numbers.keys()  # a class that one of them does not know has probability 0 there
    difference = sum(abs(numbers.get(name, 0.0) - shadow_numbers.get(name, 0.0)) for name in names)
    return HeadCounts(
        rows=1,
        labelled=int(is_labelled),
        disagreements=int(is_labelled and label != shadow_label),
        difference=difference / max(1, len(names)),
    )


def _label(answer: Answer) -> Any:
    """Return the class, or the labels, of an answer; None where it has neither."""
    labels = answer.get("labels")
    return answer.get("class") if labels is None else frozenset(labels)


def _numbers(answer: Answer) -> dict[str, float]:
    """Return the numbers of an answer by name: probabilities, the value, or the value of each target."""
    if "probabilities" in answer:
        return dict(answer["probabilities"])
    if "value" in answer:
        return {"value": answer["value"]}
    of_targets = {name: part["value"] for name, part in answer.items() if isinstance(part, Mapping) and "value" in part}
    return of_targets or {name: number for name, number in answer.items() if isinstance(number, int | float)}
