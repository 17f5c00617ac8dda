"""Rows whose inputs are equal, byte for byte.

Equal images, texts and series with different labels are all removed, since nobody knows which label is right. Equal
rows of a table may have different targets: that is noise, and they are kept. Of rows with equal inputs (in a table: and
equal targets) the one with the most labels is kept, of several the first. Pieces of one long text are never duplicates.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.frames import Bools, Floats, Ints
from app.datasets.frames.digests import digest_rows, group_ids


class Duplicates(CleaningStep):
    """Remove rows that repeat another row exactly, or count them."""

    kind: Literal["duplicates"] = "duplicates"
    action: Literal["remove", "report"] = Field(default="remove", description="Remove the repetitions, or count them.")
    conflicting: Literal["auto", "remove", "keep"] = Field(
        default="auto",
        description="Equal rows with different labels: auto keeps those of tables and removes others.",
    )

    def run(self, state: CleaningState) -> None:
        """Group the kept rows by their digests, settle conflicting labels, then remove repetitions."""
        positions = state.kept()
        if not len(positions) or state.frame.windows:
            return
        groups = group_ids(state.digests()[positions])
        if self.action == "report":
            self._count(len(positions) - int(groups.max()) - 1, state)
            return
        conflicts = find_conflicts(groups, state.frame.targets[positions])[groups]
        keeps = self.conflicting == "keep" or (self.conflicting == "auto" and state.frame.modality == "table")
        if keeps:
            self._report_noise(positions[conflicts], state)
            keys = np.concatenate([state.digests()[positions], digest_rows(state.frame.targets[positions])], axis=1)
            groups = group_ids(keys)
        else:
            self._remove_conflicts(positions[conflicts], state)
            positions, groups = positions[~conflicts], groups[~conflicts]
        self._drop_repeats(positions, groups, state)

    def _count(self, repeated: int, state: CleaningState) -> None:
        if repeated:
            text = f"{repeated} rows repeat the inputs of another row and are kept, as duplicates says"
            state.notes.notice(text)
            self.record(state, repeated, "rows", text, [])

    def _report_noise(self, positions: Ints, state: CleaningState) -> None:
        if len(positions):
            text = f"{len(positions)} rows have the same inputs as others and other targets; they are kept"
            state.notes.notice(text)
            self.record(
                state, len(positions), "rows", text, [state.row_name(position) for position in positions[:5]], "report"
            )

    def _remove_conflicts(self, positions: Ints, state: CleaningState) -> None:
        if not len(positions):
            return
        modality = state.frame.modality
        state.remove(positions, "conflicting_labels", f"the same {modality} has other labels elsewhere")
        text = f"the same {modality} is labelled in several ways; nobody knows which is right, so all of them go"
        self.record(state, len(positions), "rows", text, [state.row_name(position) for position in positions[:5]])

    def _drop_repeats(self, positions: Ints, groups: Ints, state: CleaningState) -> None:
        """Keep one row of each group: the one with the most labels, of several the first."""
        missing = np.isnan(state.frame.targets[positions]).sum(axis=1)
        order = np.lexsort((positions, missing, groups))
        is_first = np.ones(len(order), dtype=np.bool_)
        is_first[1:] = groups[order][1:] != groups[order][:-1]
        # For each row in that order the first row of its group: the running maximum of where groups begin.
        kept = positions[order][np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
        repeated = np.flatnonzero(~is_first)
        by_row = repeated[np.argsort(positions[order][repeated])]
        removed, others = positions[order][by_row], kept[by_row]
        state.remove(removed, "duplicate", "the same as row", others)
        if len(removed):
            pairs = zip(removed[:5], others[:5], strict=True)
            examples = [
                f"{state.row_name(position)} is the same as {state.row_name(other)}" for position, other in pairs
            ]
            self.record(state, len(removed), "rows", "a row that repeats another teaches nothing new", examples)


def find_conflicts(groups: Ints, targets: Floats) -> Bools:
    """Return for each group whether two of its rows have different values of one target, (groups,).

    `groups` (n,) is the group of each row, `targets` (n, T) its targets, NaN = missing.
    """
    count = int(groups.max(initial=-1)) + 1
    conflicting = np.zeros(count, dtype=np.bool_)
    for column in targets.T:
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        present = ~np.isnan(column)
        np.minimum.at(low, groups[present], column[present])
        np.maximum.at(high, groups[present], column[present])
        conflicting |= low < high
    return conflicting
