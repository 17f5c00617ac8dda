"""Rows that are nearly the same: pictures that look alike, texts that share their shingles, numbers that round alike.

How likeness is told is in `app/datasets/likeness`. A near duplicate with another label is never removed: which of the
two is wrong, or whether they do differ, is for a person to say.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.frames import Bools
from app.datasets.likeness import DIGITS, DISTANCE, Pairs, sketch, within


class NearDuplicates(CleaningStep):
    """Find rows that are nearly the same as another, and report or remove them."""

    kind: Literal["near_duplicates"] = "near_duplicates"
    action: Literal["report", "remove"] = Field(default="report", description="Report them, or keep one of each.")
    distance: int = Field(default=DISTANCE, ge=0, le=10, description="Images: bits of 64 in which hashes may differ.")
    similarity: float | None = Field(
        default=None,
        ge=0.5,
        le=1,
        description="Images: least correlation of thumbnails, null: 0.99. Texts: least share of shingles, null: 0.9.",
    )
    digits: int = Field(default=DIGITS, ge=1, le=7, description="Tables and series: digits in which all numbers agree.")

    def run(self, work: Work) -> None:
        """Find the pairs among the kept rows; exact repetitions are the step duplicates' own."""
        if work.frame.windows:
            return
        found = self._pairs(work)
        found = found[(work.digests()[found[:, 0]] != work.digests()[found[:, 1]]).any(axis=1)]
        if not len(found):
            return
        other_label = _labelled_differently(found, work)
        if other_label.any():
            text = "nearly the same rows with different labels; look at them, one of each pair may be labelled wrongly"
            rows = len(np.unique(found[other_label]))
            self.record(work, rows, "rows", text, _examples(found[other_label], work), "report")
        self._settle(found[~other_label], work)

    def _pairs(self, work: Work) -> Pairs:
        """Return pairs of places; those of the default likeness serve the report of leaks, too."""
        modality, frame = work.frame.modality, work.frame
        rounded = modality in {"table", "series"}
        if (self.digits == DIGITS) if rounded else (self.distance == DISTANCE and self.similarity is None):
            return work.pairs()
        places = work.kept()
        sketches = sketch(frame.inputs, frame.columns, self.digits) if rounded else work.sketches()
        return places[within(modality, sketches[places], self.distance, self.similarity)]

    def _settle(self, found: Pairs, work: Work) -> None:
        if not len(found):
            return
        if self.action == "report":
            text = "rows nearly the same as another stay; action = remove keeps one of each kind"
            self.record(work, len(np.unique(found[:, 1])), "rows", text, _examples(found, work))
            return
        removed = _choose(found, np.isnan(work.frame.targets).sum(axis=1))
        work.remove(removed[:, 0], "near_duplicate", "nearly the same as row", removed[:, 1])
        text = "of rows nearly the same the best labelled, then first, stays"
        self.record(work, len(removed), "rows", text, _examples(removed[:, ::-1], work))


def _labelled_differently(found: Pairs, work: Work) -> Bools:
    """Say of each pair whether its two rows carry different values of one target, (P,)."""
    first, second = work.frame.targets[found[:, 0]], work.frame.targets[found[:, 1]]
    differ: Bools = ((first != second) & ~np.isnan(first) & ~np.isnan(second)).any(axis=1)
    return differ


def _choose(found: Pairs, lacking: Pairs) -> Pairs:
    """Return (removed, the kept row it is like) by place: a row goes only if it is like one that stays."""
    ordered = np.where((lacking[found[:, 0]] <= lacking[found[:, 1]])[:, None], found, found[:, ::-1])
    order = np.lexsort((ordered[:, 0], ordered[:, 1], lacking[ordered[:, 1]]))
    gone: dict[int, int] = {}
    for keeper, other in ordered[order].tolist():
        if keeper not in gone and other not in gone:
            gone[other] = keeper
    return np.array(sorted(gone.items()), dtype=np.int64).reshape(-1, 2)


def _examples(found: Pairs, work: Work) -> list[str]:
    return [f"{work.name(second)} is nearly the same as {work.name(first)}" for first, second in found[:5]]
