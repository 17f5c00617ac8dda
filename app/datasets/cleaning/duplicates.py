"""Rows whose inputs are the same, byte for byte.

Images, texts and series that are the same and labelled differently all go, since nobody knows which label is right.
Rows of a table may repeat with another target: that is noise, and they stay. Of rows with the same inputs (in a table:
and the same targets) the best labelled, then first, stays. Pieces of one long text are never duplicates.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.frames import Bools, Floats, Ints
from app.datasets.frames.digests import digest_rows, number_rows


class Duplicates(CleaningStep):
    """Remove rows that repeat another row exactly, or count them."""

    kind: Literal["duplicates"] = "duplicates"
    action: Literal["remove", "report"] = Field(default="remove", description="Remove the repetitions, or count them.")
    conflicting: Literal["auto", "remove", "keep"] = Field(
        default="auto",
        description="Rows that are the same and labelled differently: auto keeps those of tables and removes others.",
    )

    def run(self, work: Work) -> None:
        """Group the kept rows by their digests."""
        places = work.kept()
        if not len(places) or work.frame.windows:
            return
        groups = number_rows(work.digests()[places])
        if self.action == "report":
            self._count(len(places) - int(groups.max()) - 1, work)
            return
        conflicts = find_conflicts(groups, work.frame.targets[places])[groups]
        keeps = self.conflicting == "keep" or (self.conflicting == "auto" and work.frame.modality == "table")
        if keeps:
            self._notice_noise(places[conflicts], work)
            keys = np.concatenate([work.digests()[places], digest_rows(work.frame.targets[places])], axis=1)
            groups = number_rows(keys)
        else:
            self._remove_conflicts(places[conflicts], work)
            places, groups = places[~conflicts], groups[~conflicts]
        self._drop_repeats(places, groups, work)

    def _count(self, repeated: int, work: Work) -> None:
        if repeated:
            text = f"{repeated} rows repeat the inputs of another row and are kept, as duplicates says"
            work.notes.notice(text)
            self.record(work, repeated, "rows", text, [])

    def _notice_noise(self, places: Ints, work: Work) -> None:
        if len(places):
            text = f"{len(places)} rows have the same inputs as others and other targets; they are kept"
            work.notes.notice(text)
            self.record(work, len(places), "rows", text, [work.name(place) for place in places[:5]], "report")

    def _remove_conflicts(self, places: Ints, work: Work) -> None:
        if not len(places):
            return
        modality = work.frame.modality
        work.remove(places, "conflicting_labels", f"the same {modality} has other labels elsewhere")
        text = f"the same {modality} is labelled in several ways; nobody knows which is right, so all of them go"
        self.record(work, len(places), "rows", text, [work.name(place) for place in places[:5]])

    def _drop_repeats(self, places: Ints, groups: Ints, work: Work) -> None:
        """Keep one row of each group: the best labelled, then the first."""
        lacking = np.isnan(work.frame.targets[places]).sum(axis=1)
        order = np.lexsort((places, lacking, groups))
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = groups[order][1:] != groups[order][:-1]
        kept = places[order][np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
        again = np.flatnonzero(~first)
        by_row = again[np.argsort(places[order][again])]
        removed, others = places[order][by_row], kept[by_row]
        work.remove(removed, "duplicate", "the same as row", others)
        if len(removed):
            pairs = zip(removed[:5], others[:5], strict=True)
            examples = [f"{work.name(place)} is the same as {work.name(other)}" for place, other in pairs]
            self.record(work, len(removed), "rows", "a row that repeats another teaches nothing new", examples)


def find_conflicts(groups: Ints, targets: Floats) -> Bools:
    """Say for each group whether two of its rows carry different values of one target, (groups,)."""
    count = int(groups.max(initial=-1)) + 1
    found = np.zeros(count, dtype=np.bool_)
    for column in targets.T:
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        present = ~np.isnan(column)
        np.minimum.at(low, groups[present], column[present])
        np.maximum.at(high, groups[present], column[present])
        found |= low < high
    return found
