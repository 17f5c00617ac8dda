"""What a sweep searches and how: where values come from, and the algorithms. Pure pydantic."""

import itertools
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from app.ml.fields import Integer, Real
from app.ml.spec import Frozen

_Number = Annotated[Real, Field(ge=-1e12, le=1e12)]
_Whole = Annotated[Integer, Field(ge=-(2**53), le=2**53)]


class _Range(Frozen):
    low: Any
    high: Any

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            msg = "low is to be below high"
            raise ValueError(msg)
        return self

    def probes(self) -> list[Any]:
        """Values to check before anything is tried: the ends."""
        return [self.low, self.high]

    def all_values(self) -> list[Any] | None:
        """Return every value there is, each once; None where they are too many to list."""
        return None


class Uniform(_Range):
    """A real number, every one as likely."""

    kind: Literal["uniform"]
    low: _Number = Field(description="Smallest value.")
    high: _Number = Field(description="Largest value.")


class LogUniform(_Range):
    """A positive number whose logarithm is uniform: as often between 0.001 and 0.01 as between 0.01 and 0.1."""

    kind: Literal["log_uniform"]
    low: Annotated[Real, Field(gt=0, le=1e12)] = Field(description="Smallest value, above 0.")
    high: Annotated[Real, Field(gt=0, le=1e12)] = Field(description="Largest value.")


class IntegerRange(_Range):
    """A whole number."""

    kind: Literal["integer"]
    low: _Whole = Field(description="Smallest value.")
    high: _Whole = Field(description="Largest value, itself included.")
    log: bool = Field(default=False, strict=True, description="Draw the logarithm uniformly; needs low of at least 1.")

    def all_values(self) -> list[Any] | None:
        """Return every value there is, each once; None where they are too many to list."""
        count = self.high - self.low + 1
        return list(range(self.low, self.high + 1)) if count <= MAX_COMBINATIONS else None

    @model_validator(mode="after")
    def _logarithms_exist(self) -> Self:
        if self.log and self.low < 1:
            msg = "log needs low of at least 1"
            raise ValueError(msg)
        return self


class Choice(Frozen):
    """One of a list: words, numbers, or whole objects such as a backbone."""

    kind: Literal["choice"]
    values: list[JsonValue] = Field(min_length=1, max_length=50, description="What can be chosen.")

    def probes(self) -> list[JsonValue]:
        """Values to check before anything is tried: all of them."""
        return list(self.values)

    def all_values(self) -> list[Any] | None:
        """Return every value there is, each once: 1 and true differ."""
        return list({json.dumps(value, sort_keys=True): value for value in self.values}.values())


MAX_COMBINATIONS = 1000  # as many as a sweep may have trials
AnyRange = Annotated[Uniform | LogUniform | IntegerRange | Choice, Field(discriminator="kind")]


class RandomSearch(Frozen):
    """Independent draws (Bergstra and Bengio, 2012)."""

    kind: Literal["random"] = "random"


class Tpe(Frozen):
    """Tree-structured Parzen estimator (Bergstra et al., 2011): draws where good trials were denser than bad ones."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: Integer = Field(10, ge=1, le=1000, description="Random trials before the first estimate.")


class SuccessiveHalving(Frozen):
    """Asynchronous successive halving (Li et al., 2018): at each rung only the best go on, the others are pruned.

    Rung r is at epoch `min_epochs * reduction_factor ** r`, at the first measurement from there on.
    """

    kind: Literal["successive_halving"] = "successive_halving"
    sampler: Literal["random", "tpe"] = Field("random", description="Where the values come from.")
    min_epochs: Integer = Field(1, ge=1, le=100_000, description="Epochs that every trial gets.")
    reduction_factor: Integer = Field(3, ge=2, le=100, description="One of so many trials goes on from each rung.")

    def rung_epoch(self, rung: int) -> int:
        """Epochs to have done at a rung, counted from 0."""
        return self.min_epochs * int(self.reduction_factor**rung)


AnyAlgorithm = Annotated[RandomSearch | Tpe | SuccessiveHalving, Field(discriminator="kind")]
Direction = Literal["minimize", "maximize"]


def combinations(space: Mapping[str, AnyRange]) -> list[dict[str, Any]] | None:
    """Return every combination of values by field, each once; None where they are more than 1,000 or without number."""
    fields = sorted(space)
    values = [space[field].all_values() for field in fields]
    known = [of_field for of_field in values if of_field is not None]
    if len(known) < len(values) or math.prod(map(len, known)) > MAX_COMBINATIONS:
        return None
    return [dict(zip(fields, chosen, strict=True)) for chosen in itertools.product(*known)]
