"""Rows that are nearly the same: images that look alike, texts that share their shingles, numbers that round alike.

How likeness is measured is in `app/datasets/likeness`. A near duplicate with another label is never removed: a person
has to say which of the two is wrong, or whether they do differ.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.frames import Bools
from app.datasets.likeness import DIGITS, DISTANCE, Pairs, sketch, within


class NearDuplicates(CleaningStep):
    """Find rows that are nearly the same as another, and report or remove them."""

    kind: Literal["near_duplicates"] = "near_duplicates"
    action: Literal["report", "remove"] = Field(default="report", description="Report them, or keep one of each.")
    distance: int = Field(
        default=DISTANCE, ge=0, le=10, description="Images: maximum number of the 64 bits in which two hashes differ."
    )
    similarity: float | None = Field(
        default=None,
        ge=0.5,
        le=1,
        description="Minimum correlation of image thumbnails, null: 0.99, or share of shingles of texts, null: 0.9.",
    )
    digits: int = Field(
        default=DIGITS, ge=1, le=7, description="Tables and series: leading digits in which all numbers agree."
    )

    def run(self, state: CleaningState) -> None:
        """Find the pairs among the kept rows; equal rows are left to the step `duplicates`."""
        if state.frame.windows:
            return
        pairs = self._near_pairs(state)
        pairs = pairs[(state.digests()[pairs[:, 0]] != state.digests()[pairs[:, 1]]).any(axis=1)]
        if not len(pairs):
            return
        other_label = _labelled_differently(pairs, state)
        if other_label.any():
            text = "nearly the same rows with different labels; look at them, one of each pair may be labelled wrongly"
            rows = len(np.unique(pairs[other_label]))
            self.record(state, rows, "rows", text, _examples(pairs[other_label], state), "report")
        self._report_or_remove(pairs[~other_label], state)

    def _near_pairs(self, state: CleaningState) -> Pairs:
        """Return pairs of positions, (P, 2); those under the defaults are shared with the report of leaks."""
        modality, frame = state.frame.modality, state.frame
        rounded = modality in {"table", "series"}
        if (self.digits == DIGITS) if rounded else (self.distance == DISTANCE and self.similarity is None):
            return state.near_pairs()
        positions = state.kept()
        sketches = sketch(frame.inputs, frame.columns, self.digits) if rounded else state.sketches()
        return positions[within(modality, sketches[positions], self.distance, self.similarity)]

    def _report_or_remove(self, pairs: Pairs, state: CleaningState) -> None:
        if not len(pairs):
            return
        if self.action == "report":
            text = "rows nearly the same as another stay; action = remove keeps one of each kind"
            self.record(state, len(np.unique(pairs[:, 1])), "rows", text, _examples(pairs, state))
            return
        removed = choose_removed(pairs, np.isnan(state.frame.targets).sum(axis=1))
        state.remove(removed[:, 0], "near_duplicate", "nearly the same as row", removed[:, 1])
        text = "of rows nearly the same the best labelled, then first, stays"
        self.record(state, len(removed), "rows", text, _examples(removed[:, ::-1], state))


def _labelled_differently(pairs: Pairs, state: CleaningState) -> Bools:
    """Return for each pair whether its two rows have different values of one target, (P,)."""
    first, second = state.frame.targets[pairs[:, 0]], state.frame.targets[pairs[:, 1]]
    differ: Bools = ((first != second) & ~np.isnan(first) & ~np.isnan(second)).any(axis=1)
    return differ


def choose_removed(pairs: Pairs, missing: Pairs) -> Pairs:
    """Return pairs of positions (removed, kept), (R, 2): a row is removed only if it is like one that is kept.

    `missing` (N,) are the missing labels of each row; of two rows the one with fewer is preferred, then the first.
    """
    preferred_first = np.where((missing[pairs[:, 0]] <= missing[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    order = np.lexsort((preferred_first[:, 0], preferred_first[:, 1], missing[preferred_first[:, 1]]))
    removed: dict[int, int] = {}
    for keeper, other in preferred_first[order].tolist():
        if keeper not in removed and other not in removed:
            removed[other] = keeper
    return np.array(sorted(removed.items()), dtype=np.int64).reshape(-1, 2)


def _examples(pairs: Pairs, state: CleaningState) -> list[str]:
    return [f"{state.row_name(second)} is nearly the same as {state.row_name(first)}" for first, second in pairs[:5]]
