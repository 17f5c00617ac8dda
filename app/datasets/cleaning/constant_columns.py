"""Columns that hold the same in every kept row, so that nothing can be learned from them.

A named column that is constant in the whole file is left out when it is read; this step also sees what has become
constant by cleaning, and the columns of plain arrays, which are known only by their position.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Floats


class ConstantColumns(CleaningStep):
    """Report or drop the columns of a table that hold one value in all kept rows of train."""

    modalities = ("table",)
    after_split = True
    kind: Literal["constant_columns"] = "constant_columns"
    action: Literal["report", "drop"] = Field(default="report", description="Report such columns, or leave them out.")

    def run(self, work: Work) -> None:
        """Look at every column over the kept rows of train."""
        places = work.kept() if work.split is None else work.kept()[work.split == 0]
        found = [
            start + j
            for start, block in work.blocks(places)
            for j in range(block.shape[1])
            if _is_constant(block[:, j])
        ]
        if not found:
            return
        names = [work.frame.columns[j].name for j in found]
        if self.action == "drop":
            if len(found) == len(work.frame.columns):
                message = "every input column holds one value in all rows of train; there is nothing to learn from"
                raise DatasetError(Code.NO_INPUTS, message)
            work.drop_columns(found)
        text = "columns that hold one value, or none, in all rows of train teach nothing"
        self.record(work, len(found), "columns", text, names)


def _is_constant(values: Floats) -> bool:
    present = values[~np.isnan(values)]
    return not len(present) or (len(present) == len(values) and bool(present.min() == present.max()))
