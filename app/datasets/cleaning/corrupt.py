"""Items that the reader could not open: they are left out, or too many of them refuse the file."""

from typing import Literal

from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.errors import Code, DatasetError, RowError

SHOWN = 20


class Corrupt(CleaningStep):
    """Leave out items that cannot be opened; with too many of them, refuse the file."""

    kind: Literal["corrupt"] = "corrupt"
    most: float = Field(default=1, ge=0, le=1, description="A larger share of such items refuses the whole file.")

    def run(self, work: Work) -> None:
        """Account for what the reader found; what could not be opened was never among the rows."""
        corrupt, read = work.loaded.corrupt, work.loaded.read
        if len(corrupt) > self.most * read:
            message = f"{len(corrupt)} of {read} items cannot be used, more than the share {self.most:g}; correct them"
            faults = [RowError(("file",), item.detail, item.row) for item in corrupt[:SHOWN]]
            raise DatasetError(Code.TOO_CORRUPT, message, faults)
        for removal in corrupt:
            work.add(removal)
        if corrupt:
            examples = [f"row {item.row}: {item.detail}" for item in corrupt]
            self.record(work, len(corrupt), "rows", "what cannot be opened cannot be learned from", examples, "remove")
