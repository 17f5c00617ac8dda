"""Items that the reader could not read: they are left out, or the file is refused where they are too many."""

from typing import Literal

from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.errors import Code, DatasetError, RowError

MAX_ROW_ERRORS = 20


class Corrupt(CleaningStep):
    """Leave out items that cannot be read; with too many of them, refuse the file."""

    kind: Literal["corrupt"] = "corrupt"
    most: float = Field(default=1, ge=0, le=1, description="Maximum share of such items; a file with more is refused.")

    def run(self, state: CleaningState) -> None:
        """Record the items that the reader could not read; they were never among the rows."""
        corrupt, read = state.loaded.corrupt, state.loaded.rows_read
        if len(corrupt) > self.most * read:
            message = f"{len(corrupt)} of {read} items cannot be used, more than the share {self.most:g}; correct them"
            faults = [RowError(("file",), item.detail, item.row) for item in corrupt[:MAX_ROW_ERRORS]]
            raise DatasetError(Code.TOO_CORRUPT, message, faults)
        for removal in corrupt:
            state.add_removal(removal)
        if corrupt:
            examples = [f"row {item.row}: {item.detail}" for item in corrupt]
            self.record(state, len(corrupt), "rows", "what cannot be opened cannot be learned from", examples, "remove")
