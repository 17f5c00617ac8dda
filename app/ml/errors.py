"""What can go wrong in learning.

LearningError
├── ConfigError               a choice does not fit the data; the user changes the choice
├── InputError                rows sent for prediction cannot be read; the user changes the rows
├── CorruptCheckpointError    a resumable state does not belong to this job, or is damaged
├── CorruptModelError         a model's files are damaged, or it no longer answers as when it was saved
├── ExportError               a model has no form of the kind that was asked for; the user asks for another
└── WeightsError              a file of weights cannot be imported; the user sends another
"""

from typing import Literal

Location = tuple[str | int, ...]
WeightsCode = Literal["unsupported_format", "damaged_weights", "weights_do_not_fit", "bad_vocabulary"]


class LearningError(Exception):
    """The root of this tree."""


class ConfigError(LearningError):
    """A choice does not fit the data; `loc` is its place in the job's request, `msg` says what to do."""

    def __init__(self, loc: Location, msg: str) -> None:
        super().__init__(f"{'.'.join(str(part) for part in loc)}: {msg}")
        self.loc = loc
        self.msg = msg

    def under(self, *prefix: str | int) -> "ConfigError":
        """The same error, seen from an enclosing config."""
        return ConfigError((*prefix, *self.loc), self.msg)


class InputError(LearningError):
    """Rows that cannot be read: one `(loc, msg)` each, where `loc` begins with the row's index."""

    def __init__(self, errors: list[tuple[Location, str]]) -> None:
        super().__init__("; ".join(f"{loc}: {msg}" for loc, msg in errors))
        self.errors = errors


class CorruptCheckpointError(LearningError):
    """A checkpoint is damaged or belongs to another training; an earlier one may be whole."""


class CorruptModelError(LearningError):
    """A model's files are damaged or no longer give the outputs saved with them."""


class ExportError(LearningError):
    """A model cannot be written in the form that was asked for; the message says why, and what can be."""


class WeightsError(LearningError):
    """Weights that cannot be imported: a stable `code`, and one `(loc, msg)` for each thing that is wrong."""

    def __init__(self, errors: list[tuple[Location, str]], *, code: WeightsCode) -> None:
        super().__init__("; ".join(msg for _, msg in errors))
        self.errors = errors
        self.code = code
