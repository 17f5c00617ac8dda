"""What a column holds once its type is known: numbers, categories, dates, or nothing that a model can use."""

from dataclasses import dataclass
from typing import TypeAlias

from app.datasets.frames import Floats


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers: (N,), NaN = missing."""

    values: Floats
    whole: bool = False
    boolean: bool = False


@dataclass(frozen=True, slots=True)
class Categories:
    """A column of categories: codes (N,), NaN = missing; code i means names[i]."""

    codes: Floats
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dates:
    """A column of dates: days since 1970-01-01 (N,), NaN = missing."""

    values: Floats


@dataclass(frozen=True, slots=True)
class Unusable:
    """A column that no model can use, the reason, and what to send to use it, where something does.

    `notation`: how to write its values, where they look like dates or numbers in a notation that is not read.
    """

    reason: str
    remedy: str | None = None
    notation: str | None = None
    is_text: bool = False
    """Whether it holds texts, whose words can be learned from."""


Values: TypeAlias = Numbers | Categories | Dates | Unusable
