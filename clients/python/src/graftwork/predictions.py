"""What models answer: lists with one entry per input, and what is known of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from graftwork import answers
from graftwork.answer import Json

if TYPE_CHECKING:
    import pandas as pd

Entry = TypeVar("Entry")

_ENDS = ("low", "high")  # of an interval


class Answered(list[Entry]):
    """A list with one entry per input, in their order; `model` is the version that answered the last of them."""

    model: answers.ModelName | None = None

    def __init__(self, entries: Sequence[Entry] = (), *, index: Any = None) -> None:
        super().__init__(entries)
        self.warnings: list[answers.WarningItem] = []
        self._index = index

    def add(self, answer: Json, field: str) -> None:
        """Add the entries of one answer."""
        self.extend(answer[field])
        if answer.get("model"):
            self.model = answers.ModelName.from_json(answer["model"])
        self.warnings += map(answers.WarningItem.from_json, answer.get("warnings") or ())

    def to_rows(self) -> list[Json]:
        """Return one flat dictionary per input.

        A prediction `{"size": {"class": "large", "probabilities": {"large": 0.9}}}` becomes the columns `size.class`
        and `size.probabilities.large`, as in the results of a batch prediction; an interval its `low` and `high`.
        """
        return [dict(_leaves("", entry)) for entry in self]

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows of `to_rows` as a frame, under the index of the frame that was asked with, if it was one."""
        import pandas as pd  # noqa: PLC0415 - an optional package, for this alone

        return pd.DataFrame(self.to_rows(), index=self._index)


class Predictions(Answered[Json]):
    """One prediction per input: by head, its answer."""


class Generations(Answered[Json]):
    """One generation per text: its `continuations`, and whether the text was `truncated`."""


class Embeddings(Answered["list[float]"]):
    """One embedding per input: a list of features."""


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values inside an answer with their dotted names; lists stay whole, but for intervals and embeddings."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), item)
    elif not path:
        yield from ((f"embedding.{number}", item) for number, item in enumerate(value))
    elif isinstance(value, list) and len(value) == len(_ENDS) and all(isinstance(end, int | float) for end in value):
        yield from zip((f"{path}.{end}" for end in _ENDS), value, strict=True)
    else:
        yield path, value
