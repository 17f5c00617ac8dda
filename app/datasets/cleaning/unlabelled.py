"""Rows without any label: removed, or kept for train, as the option `unlabelled` says. Runs before all steps."""

from typing import Literal

import numpy as np

from app.datasets.cleaning.state import CleaningState


def treat_unlabelled(state: CleaningState, choice: Literal["remove", "keep"]) -> None:
    """Remove or keep the rows that lack all targets."""
    specs = state.frame.target_specs
    unlabelled = np.flatnonzero(np.isnan(state.frame.targets).all(axis=1)) if specs else np.empty(0, np.int64)
    if not len(unlabelled):
        return
    names = ", ".join(spec.name for spec in specs)
    examples = [state.row_name(int(position)) for position in unlabelled[:5]]
    if choice == "keep":
        text = f"{len(unlabelled)} rows have no value for {names}; they are kept, in train, as unlabelled says"
        state.notes.notice(text)
    else:
        text = f'rows without a value for {names} cannot teach it; unlabelled = "keep" keeps them for learning without'
        state.remove(unlabelled, "missing_target", f"no value for {names}")
    state.record("missing_target", choice, len(unlabelled), "rows", text, examples)
