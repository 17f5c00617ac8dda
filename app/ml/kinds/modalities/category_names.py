"""Which category a text means: the same one, or true for yes, or 1 for 1.0."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from app.ml.data.truths import TRUTHS, truths_of
from app.ml.kinds.modalities.decoding import plain_number

TRUE_AND_FALSE = {"true": True, "false": False}
Key = TypeVar("Key")


@dataclass
class CategoryNames:
    """The names of the categories of a column, by all that a text may mean; what two of them mean is in doubt."""

    categories: tuple[str, ...]
    by_name: dict[str, int] = field(init=False)
    by_number: dict[float, int] = field(init=False)
    by_truth: dict[bool, int] = field(init=False)
    are_truths: bool = field(init=False)

    def __post_init__(self) -> None:
        truths = truths_of(self.categories)  # yes and no are true and false only where no others are
        self.by_name = {name: code for code, name in enumerate(self.categories)}
        self.by_number = _unambiguous([plain_number(name) for name in self.categories])
        self.by_truth = _unambiguous(
            [truths.get(name, TRUE_AND_FALSE.get(name.casefold())) for name in self.categories]
        )
        self.are_truths = bool(truths)

    def code_of(self, text: str) -> int | None:
        """Return the code of the category that a text means: the same, without blanks, as a truth, as a number."""
        trimmed = text.strip()
        for name in (text, trimmed):
            if name in self.by_name:
                return self.by_name[name]
        number = plain_number(trimmed)
        truth = (TRUTHS if self.are_truths else TRUE_AND_FALSE).get(trimmed.casefold())
        if truth is not None:
            return self.by_truth.get(truth)
        if number in (0, 1) and self.by_truth:
            return self.by_truth.get(bool(number))
        return None if number is None else self.by_number.get(number)


def _unambiguous(keys: Sequence[Key | None]) -> dict[Key, int]:
    """Return the position of each key that stands once among `keys`."""
    counts = Counter(keys)
    return {key: position for position, key in enumerate(keys) if key is not None and counts[key] == 1}
