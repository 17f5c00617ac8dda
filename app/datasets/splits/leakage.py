"""Rows that are on two sides: in train and in what judges it, or in a labelled set and in what a backbone learned from.

The digests and sketches of a dataset's rows are part of its canonical form (`digests.npy`, `likeness.npy`), so that
two datasets are compared without reading either of them again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.digests import Digests, Ints, find
from app.datasets.likeness import Pairs, Sketches, across
from app.datasets.report import Leak, LeakCount, LeakReport
from app.ml.data.spec import SPLITS, ModalityKind

LISTED = 100
FILES = ("digests.npy", "likeness.npy", "split.npy", "rows.npy")
Bytes: TypeAlias = npt.NDArray[np.uint8]
Advise: TypeAlias = Callable[[list[LeakCount]], str]


@dataclass(frozen=True, slots=True)
class Prints:
    """What tells rows apart: digests (N, 2), sketches (N, K), splits (N,) and numbers in the source (N,)."""

    modality: ModalityKind
    digests: Digests
    sketches: Sketches
    split: Bytes
    rows: Ints

    def at(self, places: Ints) -> "Prints":
        """Return those of some rows."""
        return Prints(self.modality, self.digests[places], self.sketches[places], self.split[places], self.rows[places])


@dataclass(frozen=True, slots=True)
class Earlier:
    """A dataset whose rows keep their splits: its id, digests (M, 2) and splits (M,).

    Where it was made from the same source, also the rows' numbers there (M,): cleaning may change what a row holds,
    and it remains the same row.
    """

    id: str
    digests: Digests
    split: Bytes
    rows: Ints | None = None

    def splits_of(self, digests: Digests, rows: Ints) -> Ints:
        """Return the split there of each row, by its number (N,) or else its digest (N, 2); -1 where it is not.

        A digest in several splits is in the later of them.
        """
        order = np.argsort(-self.split.astype(np.int64), kind="stable")
        at = find(digests, self.digests[order])
        known = np.where(at >= 0, self.split[order][at].astype(np.int64), -1)
        if self.rows is None:
            return known
        order = np.argsort(self.rows)
        at = order[np.minimum(np.searchsorted(self.rows[order], rows), len(order) - 1)]
        return np.where(self.rows[at] == rows, self.split[at].astype(np.int64), known)


@dataclass(slots=True)
class _Found:
    counts: list[LeakCount] = field(default_factory=list)
    rows: list[Leak] = field(default_factory=list)


def open_prints(folder: Path, modality: ModalityKind) -> Prints:
    """Open the prints of a canonical folder, mapped."""
    arrays = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in FILES)
    return Prints(modality, *arrays)


def write_prints(prints: Prints, out: Path) -> list[str]:
    """Write what `write_rest` does not, and return the names of the files."""
    for name, array in zip(FILES[:2], (prints.digests, prints.sketches), strict=True):
        np.save(out / name, np.ascontiguousarray(array), allow_pickle=False)
    return list(FILES[:2])


def leaks_between_splits(prints: Prints, pairs: Pairs) -> LeakReport:
    """Look for rows of validation and test that are in train; `pairs` (P, 2) of rows that are nearly the same."""
    judged, train = np.flatnonzero(prints.split != 0), np.flatnonzero(prints.split == 0)
    at = find(prints.digests[judged], prints.digests[train])
    exact = np.stack([judged[at >= 0], train[at[at >= 0]]], axis=1)
    if prints.modality in {"image", "text"}:
        near = _crossing(pairs, prints.split)
    else:
        near = across(prints.modality, prints.sketches[judged], prints.sketches[train])
        near = np.stack([judged[near[:, 0]], train[near[:, 1]]], axis=1)
    return _report(prints, prints, exact, near, _advise_splits)


def _crossing(pairs: Pairs, split: Bytes) -> Pairs:
    """Return for each row of validation or test its first near twin in train, (P, 2)."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[(split[both[:, 0]] != 0) & (split[both[:, 1]] == 0)]
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    crossing: Pairs = both[np.unique(both[:, 0], return_index=True)[1]]
    return crossing


def leaks_against(mine: Prints, theirs: Prints, other: str) -> LeakReport:
    """Look for rows of a dataset that are, exactly or nearly, in the dataset called `other`."""
    at = find(mine.digests, theirs.digests)
    places = np.flatnonzero(at >= 0)
    exact = np.stack([places, at[places]], axis=1)
    rest = np.flatnonzero(at < 0)
    near = across(mine.modality, mine.sketches[rest], theirs.sketches)
    near[:, 0] = rest[near[:, 0]]
    return _report(mine, theirs, exact, near, lambda counts: _advise_corpus(counts, other))


def _report(mine: Prints, theirs: Prints, exact: Pairs, near: Pairs, advise: Advise) -> LeakReport:
    """Account for the pairs (P, 2) of a row of mine with one of theirs; what is there exactly is not near, too."""
    found = _Found()
    _account(found, "exact", mine, theirs, exact)
    _account(found, "near", mine, theirs, near[~np.isin(near[:, 0], exact[:, 0])])
    return LeakReport(counts=tuple(found.counts), rows=tuple(found.rows), advice=advise(found.counts))


def _account(found: _Found, kind: str, mine: Prints, theirs: Prints, pairs: Pairs) -> None:
    """Count the pairs (P, 2) by their splits, and list them while there is room; test comes first."""
    own, other = mine.split[pairs[:, 0]], theirs.split[pairs[:, 1]]
    for a in (2, 1, 0):
        for b in range(len(SPLITS)):
            chosen = pairs[(own == a) & (other == b)]
            if len(chosen):
                count = LeakCount(kind=kind, split=SPLITS[a], other_split=SPLITS[b], rows=len(chosen))
                found.counts.append(count)
                found.rows += [
                    Leak(
                        kind=kind,
                        row=int(mine.rows[i]),
                        split=SPLITS[a],
                        other_row=int(theirs.rows[j]),
                        other_split=SPLITS[b],
                    )
                    for i, j in chosen[: LISTED - len(found.rows)]
                ]


def _advise_splits(counts: list[LeakCount]) -> str:
    if not counts:
        return "No row of validation or test is in train, exactly or nearly."
    if any(count.kind == "exact" for count in counts):
        return (
            "Rows of train come again in validation or test, so that measurements there are too good. Let the step"
            " duplicates remove them, or keep what belongs together in one split by a column with the role group."
        )
    return (
        "Rows nearly as in train are in validation or test. Look at them; the step near_duplicates with action remove"
        " keeps one of each kind, and a column with the role group keeps what belongs together in one split."
    )


def _advise_corpus(counts: list[LeakCount], other: str) -> str:
    if not counts:
        return f"No row is in {other}, exactly or nearly."
    seen = sum(count.rows for count in counts if count.split != "train" and count.other_split == "train")
    if not seen:
        return (
            f"No row of validation or test is in the train split of {other}, so nothing that judges was learned from."
        )
    return (
        f"{seen} rows of validation and test are in the train split of {other}: a backbone that learned from it has"
        f" seen them, without their labels. For a fair measurement prepare {other} anew with same_splits_as set to this"
        " dataset, which takes the exact ones out of its train split, and look at those that are near."
    )
