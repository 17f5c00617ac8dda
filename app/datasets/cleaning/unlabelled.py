"""Rows without any label: removed, or kept for train, as the option `unlabelled` says. Runs before all steps."""

from typing import Literal

import numpy as np

from app.datasets.cleaning.state import CleaningState
from app.datasets.frames import Bools, Ints
from app.ml.spec import WarningCode

MAX_REMOVED_SHARE = 0.5  # of the rows: where more lack a label, they are what the rest was chosen from


def treat_unlabelled(state: CleaningState, choice: Literal["auto", "remove", "keep"]) -> None:
    """Remove or keep the rows that lack all targets.

    Auto keeps those that the upload itself calls unlabelled; the others it keeps where most of these rows lack a label,
    and else removes them with a warning.
    """
    specs = state.frame.target_specs
    lacking = np.zeros(len(state.frame.rows), dtype=np.bool_)
    if specs:
        lacking |= np.isnan(state.frame.targets).all(axis=1)
    called: Bools = lacking & np.isin(state.frame.rows, state.loaded.unlabelled)
    if choice == "auto" and called.any():
        count = int(called.sum())
        reason = f"{count} of {len(called)} rows lie in folders that say that they have no label"
        state.notes.decide("unlabelled", "keep", reason, 'unlabelled="remove"')
        _keep(state, np.flatnonzero(called), reason)
        lacking &= ~called
    positions = np.flatnonzero(lacking)
    if not len(positions):
        return
    rows = len(lacking) - (int(called.sum()) if choice == "auto" else 0)
    text = f"{len(positions)} of {rows} rows have no value for {', '.join(spec.name for spec in specs)}"
    keep = choice == "keep" or (choice == "auto" and len(positions) > MAX_REMOVED_SHARE * rows)
    if choice == "auto":
        state.notes.decide("unlabelled", "keep" if keep else "remove", text)
    if keep:
        _keep(state, positions, text)
    else:
        _remove(state, positions, text, warn=choice == "auto")


def _keep(state: CleaningState, positions: Ints, lacking: str) -> None:
    text = f"{lacking}; they are kept, in train, for learning without labels"
    state.notes.notice(text)
    _record(state, positions, "keep", text)


def _remove(state: CleaningState, positions: Ints, lacking: str, *, warn: bool) -> None:
    names = ", ".join(spec.name for spec in state.frame.target_specs)
    text = f'rows without a value for {names} cannot teach it; unlabelled = "keep" keeps them for learning without'
    state.remove(positions, "missing_target", f"no value for {names}")
    if warn:
        remedy = 'unlabelled = "keep" keeps them, for learning without labels'
        rows, count = state.frame.rows[positions], len(positions)
        state.notes.warn(
            WarningCode.UNLABELLED_REMOVED, f"{lacking} and were removed", count=count, rows=rows, remedy=remedy
        )
    _record(state, positions, "remove", text)


def _record(state: CleaningState, positions: Ints, action: str, text: str) -> None:
    examples = [state.row_name(int(position)) for position in positions[:5]]
    state.record("missing_target", action, len(positions), "rows", text, examples)
