"""The parts of a head's answer to a row, for those who want them as tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

PartType = Literal["text", "number", "probability", "truth", "count"]


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A part of a head's answer that has one shape for every row.

    The part without a name is the answer itself. `read` takes it from the JSON that the head predicts, as a value or
    as lists of `shape`; `labels` say what its last dimension counts.
    """

    name: str
    type: PartType
    shape: tuple[int, ...]
    read: Callable[[dict[str, Any]], Any]
    labels: tuple[str, ...] = ()
