"""What every part of a preparation works with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes

Progress: TypeAlias = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Context:
    """A folder for scratch files, the user's options, the limits, notes for the report, and a hearer of progress."""

    scratch: Path
    options: PrepareOptions
    limits: Limits
    notes: Notes
    progress: Progress
