"""Columns that hold the same value in every kept row, so that nothing can be learned from them.

A named column that is constant in the whole file is left out when columns are encoded. This step also finds columns
that cleaning made constant, and columns of plain arrays, which are known only by their position.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Floats


class ConstantColumns(CleaningStep):
    """Report or drop the columns of a table that hold one value in all kept rows of train."""

    modalities = ("table",)
    after_split = True
    kind: Literal["constant_columns"] = "constant_columns"
    action: Literal["report", "drop"] = Field(default="report", description="Report such columns, or leave them out.")

    def run(self, state: CleaningState) -> None:
        """Check every column over the kept rows of train."""
        positions = state.kept() if state.split is None else state.kept()[state.split == 0]
        constant = [
            start + j
            for start, block in state.blocks(positions)
            for j in range(block.shape[1])
            if _is_constant(block[:, j])
        ]
        if not constant:
            return
        names = [state.frame.columns[j].name for j in constant]
        if self.action == "drop":
            if len(constant) == len(state.frame.columns):
                message = "every input column holds one value in all rows of train; there is nothing to learn from"
                raise DatasetError(Code.NO_INPUTS, message)
            state.drop_columns(constant)
        text = "columns that hold one value, or none, in all rows of train teach nothing"
        self.record(state, len(constant), "columns", text, names)


def _is_constant(values: Floats) -> bool:
    present = values[~np.isnan(values)]
    return not len(present) or (len(present) == len(values) and bool(present.min() == present.max()))
