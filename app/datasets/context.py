"""What every part of a preparation works with."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeAlias

from app.datasets.frames.decodings import EarlierImages
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.kit.parts import Processes

Progress: TypeAlias = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Context:
    """A folder for scratch files, the user's options, the limits, notes for the report, and who hears and who helps.

    `earlier_images` are those of an earlier dataset, which are not decoded again.
    """

    scratch: Path
    options: PrepareOptions
    limits: Limits
    notes: Notes
    progress: Progress
    processes: Processes = field(default_factory=Processes)
    earlier_images: EarlierImages | None = None

    def for_part(self) -> Self:
        """Return the context of a part that another process reads: it can be pickled, and nobody hears of the part."""
        return replace(self, notes=Notes(), progress=_no_progress, processes=Processes(), earlier_images=None)


def _no_progress(_fraction: float, _phase: str) -> None:
    """Report nothing: the process that waits for the parts does."""
