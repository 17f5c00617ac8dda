"""Rows without any label: removed, or kept for train, as the option `unlabelled` says. Runs before all steps."""

from typing import Literal

import numpy as np

from app.datasets.cleaning.state import CleaningState
from app.ml.spec import WarningCode

MAX_REMOVED_SHARE = 0.5  # of the rows: where more lack a label, they are what the rest was chosen from


def treat_unlabelled(state: CleaningState, choice: Literal["auto", "remove", "keep"]) -> None:
    """Remove or keep the rows that lack all targets; auto keeps them where most rows do, and warns where it removes."""
    specs = state.frame.target_specs
    positions = np.flatnonzero(np.isnan(state.frame.targets).all(axis=1)) if specs else np.empty(0, np.int64)
    count, rows = len(positions), len(state.frame.rows)
    if not count:
        return
    names = ", ".join(spec.name for spec in specs)
    keep = choice == "keep" or (choice == "auto" and count > MAX_REMOVED_SHARE * rows)
    lacking = f"{count} of {rows} rows have no value for {names}"
    if choice == "auto":
        state.notes.decide("unlabelled", "keep" if keep else "remove", lacking)
    if keep:
        text = f"{lacking}; they are kept, in train, for learning without labels"
        state.notes.notice(text)
    else:
        text = f'rows without a value for {names} cannot teach it; unlabelled = "keep" keeps them for learning without'
        state.remove(positions, "missing_target", f"no value for {names}")
        if choice == "auto":
            message, remedy = (
                f"{lacking} and were removed",
                'unlabelled = "keep" keeps them, for learning without labels',
            )
            rows_lacking = state.frame.rows[positions]
            state.notes.warn(WarningCode.UNLABELLED_REMOVED, message, count=count, rows=rows_lacking, remedy=remedy)
    examples = [state.row_name(int(position)) for position in positions[:5]]
    state.record("missing_target", "keep" if keep else "remove", count, "rows", text, examples)
