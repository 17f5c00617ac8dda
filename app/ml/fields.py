"""Field types of configs: numbers are numbers (no strings, no booleans, no NaN), and some may be left to us."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, Tag

Integer = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Rate = Annotated[Real, Field(ge=0, lt=1)]
Share = Annotated[Real, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
MAX_TARGETS = 1000  # of one head

Value = TypeVar("Value")


def _auto_or_value(value: object) -> str:
    return "auto" if isinstance(value, str) else "value"


# A tagged union, so that a wrong number is reported once and not also as "not the word auto".
Auto = Annotated[
    Annotated[Value, Tag("value")] | Annotated[Literal["auto"], Tag("auto")], Discriminator(_auto_or_value)
]


def _one_or_several(value: object) -> str:
    return "one" if isinstance(value, str) else "several"


def _differ(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = f"{twice!r} is named twice: name every target once"
        raise ValueError(msg)
    return names


Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_TARGETS), AfterValidator(_differ)]
NameOrNames = Annotated[Annotated[Name, Tag("one")] | Annotated[Names, Tag("several")], Discriminator(_one_or_several)]
