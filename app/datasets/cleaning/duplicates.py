"""Rows whose inputs are equal, byte for byte.

Equal rows of tables and series are observations: two customers may be alike, and how often they are is what is learned.
They are kept unless the user has them removed, with different targets even then: that is noise. Equal images and texts
are copies, which are removed, except texts of which most repeat others: short messages of few wordings. Of copies with
different labels those stay that have the label of most; where no label is that of most, all of them go, since nobody
knows which is right. Of rows with equal inputs (in a table: and equal targets) the one with the most labels is kept, of
several the first. Pieces of one long text are never duplicates.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.frames import Bools, Floats, Ints
from app.datasets.frames.digests import digest_rows, group_ids
from app.ml.spec import ModalityKind, WarningCode

MAX_REPEATED_SHARE = 0.5  # of texts: where more repeat others, they are observations
FEW, FEW_SHARE = 3, 0.01  # copies that nobody needs to be warned of
NAMES: dict[ModalityKind, str] = {"image": "images", "text": "texts", "table": "rows", "series": "series"}


class Duplicates(CleaningStep):
    """Remove rows that repeat another row exactly, or count them."""

    kind: Literal["duplicates"] = "duplicates"
    action: Literal["auto", "remove", "report"] = Field(
        default="remove",
        description="Remove the repetitions, or count them; auto: count those of tables, series, and texts of which "
        "most repeat others, and remove others.",
    )
    conflicting: Literal["auto", "majority", "remove", "keep"] = Field(
        default="auto",
        description="Equal rows with different labels: majority keeps those that have the label of most, remove none, "
        "keep one of each label; auto: keep in tables, majority elsewhere.",
    )

    def run(self, state: CleaningState) -> None:
        """Group the kept rows by their digests, settle conflicting labels, then remove repetitions."""
        positions = state.kept()
        if not len(positions) or state.frame.windows:
            return
        groups = group_ids(state.digests()[positions])
        before = len(positions)
        repeated = before - int(groups.max()) - 1
        if self.action == "report" or (self.action == "auto" and self._are_observations(repeated, state)):
            self._count(repeated, state)
            return
        if self.conflicting == "keep" or (self.conflicting == "auto" and state.frame.modality == "table"):
            conflicts = find_conflicts(groups, state.frame.targets[positions])[groups]
            self._report_noise(positions[conflicts], state)
            keys = np.concatenate([state.digests()[positions], digest_rows(state.frame.targets[positions])], axis=1)
            groups = group_ids(keys)
        else:
            wrong = self._conflicts(groups, state.frame.targets[positions])
            self._remove_conflicts(positions[wrong], state)
            positions, groups = positions[~wrong], groups[~wrong]
        self._drop_repeats(positions, groups, state)
        if self.action == "auto":
            _warn_of_many(before - int(state.keep.sum()), before, state)

    def _are_observations(self, repeated: int, state: CleaningState) -> bool:
        """Return whether equal rows are no copies; `repeated` is the number of those that repeat another."""
        modality = state.frame.modality
        few_wordings = modality == "text" and repeated > MAX_REPEATED_SHARE * int(state.keep.sum())
        return modality in {"table", "series"} or few_wordings

    def _count(self, repeated: int, state: CleaningState) -> None:
        if not repeated:
            return
        name = NAMES[state.frame.modality]
        text = f"{repeated} {name} repeat the inputs of another and are kept"
        if self.action == "auto":
            text += f': equal {name} are observations; duplicates = "remove" leaves one of each'
            reason = f"{repeated} of {int(state.keep.sum())} {name} repeat another, and are observations"
            state.notes.decide("duplicates", "keep", reason)
        state.notes.notice(text)
        self.record(state, repeated, "rows", text, [], "report")

    def _conflicts(self, groups: Ints, targets: Floats) -> Bools:
        """Return which rows go because equal ones have other labels, (n,)."""
        if self.conflicting == "remove":
            return find_conflicts(groups, targets)[groups]
        return find_minorities(groups, targets)

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
        if self.conflicting != "remove":
            text = f"the same {modality} is labelled in several ways; the label of most is kept, where there is one"
        state.notes.notice(f"{len(positions)} {NAMES[modality]} were removed: {text}")
        self.record(
            state, len(positions), "rows", text, [state.row_name(position) for position in positions[:5]], "remove"
        )

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
            text = "a row that repeats another teaches nothing new"
            self.record(state, len(removed), "rows", text, examples, "remove")


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


def find_minorities(groups: Ints, targets: Floats) -> Bools:
    """Return which rows have a label that is not that of most rows of their group, (n,).

    `groups` (n,) is the group of each row, `targets` (n, T) its targets, NaN = missing. Where two values of a target
    are equally frequent in a group, and none is more so, all of its labelled rows are among them.
    """
    minority = np.zeros(len(groups), dtype=np.bool_)
    for column in targets.T:
        present = np.flatnonzero(~np.isnan(column))
        pairs, inverse, votes = np.unique(
            np.stack([groups[present], column[present]], axis=1), axis=0, return_inverse=True, return_counts=True
        )
        group = pairs[:, 0].astype(np.int64)
        most = np.zeros(int(groups.max(initial=-1)) + 1, dtype=np.int64)
        np.maximum.at(most, group, votes)
        winners = np.bincount(group, weights=votes == most[group], minlength=len(most))
        wrong = (votes < most[group]) | (winners[group] > 1)
        minority[present[wrong[inverse.reshape(-1)]]] = True
    return minority


def _warn_of_many(removed: int, total: int, state: CleaningState) -> None:
    """Warn where more than a few copies of a `total` of rows were `removed`."""
    if removed > max(FEW, FEW_SHARE * total):
        name = NAMES[state.frame.modality]
        message = f"{removed} of {total} {name} repeat another one and were removed"
        state.notes.warn(
            WarningCode.DUPLICATES_REMOVED,
            message,
            count=removed,
            remedy='duplicates = "keep" keeps them, in one split',
        )
