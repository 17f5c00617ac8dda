"""Leakage: rows that are in train and in validation or test, or in a labelled dataset and in what a backbone learned.

Rows are compared by their fingerprints: equal digests are the same row, near sketches nearly the same.
"""

from typing import Literal

import numpy as np

from app.datasets.canonical.fingerprints import Fingerprints
from app.datasets.frames import Bytes
from app.datasets.frames.digests import find_rows
from app.datasets.likeness import Pairs, across
from app.datasets.report import Leak, LeakCount, LeakReport
from app.ml.spec import SPLITS, ModalityKind

MAX_LISTED = 100


def leaks_between_splits(fingerprints: Fingerprints, near_pairs: Pairs) -> LeakReport:
    """Report the rows of validation and test that are in train.

    `near_pairs` (P, 2) are the pairs of nearly equal images or texts; other rows are compared by their sketches.
    """
    held_out, train = np.flatnonzero(fingerprints.split != 0), np.flatnonzero(fingerprints.split == 0)
    matches = find_rows(fingerprints.digests[held_out], fingerprints.digests[train])
    exact = np.stack([held_out[matches >= 0], train[matches[matches >= 0]]], axis=1)
    if fingerprints.modality in {"image", "text"}:
        near = _first_in_train(near_pairs, fingerprints.split)
    else:
        near = across(fingerprints.modality, fingerprints.sketches[held_out], fingerprints.sketches[train])
        near = np.stack([held_out[near[:, 0]], train[near[:, 1]]], axis=1)
    counts, leaks = _count(fingerprints, fingerprints, exact, near)
    return LeakReport(counts=counts, rows=leaks, advice=_advise_splits(fingerprints.modality, counts))


def _first_in_train(pairs: Pairs, split: Bytes) -> Pairs:
    """Return, of each row of validation or test with a near duplicate in train, the first such pair, (P, 2)."""
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    crossing = both_ways[(split[both_ways[:, 0]] != 0) & (split[both_ways[:, 1]] == 0)]
    crossing = crossing[np.lexsort((crossing[:, 1], crossing[:, 0]))]
    first: Pairs = crossing[np.unique(crossing[:, 0], return_index=True)[1]]
    return first


def leaks_against(own: Fingerprints, other: Fingerprints, other_id: str) -> LeakReport:
    """Report the rows of a dataset that are, exactly or nearly, in the dataset `other_id`."""
    matches = find_rows(own.digests, other.digests)
    known = np.flatnonzero(matches >= 0)
    exact = np.stack([known, matches[known]], axis=1)
    rest = np.flatnonzero(matches < 0)
    near = across(own.modality, own.sketches[rest], other.sketches)
    near[:, 0] = rest[near[:, 0]]
    counts, leaks = _count(own, other, exact, near)
    return LeakReport(counts=counts, rows=leaks, advice=_advise_against(counts, other_id))


def _count(
    own: Fingerprints, other: Fingerprints, exact: Pairs, near: Pairs
) -> tuple[tuple[LeakCount, ...], tuple[Leak, ...]]:
    """Count the pairs (P, 2) of a row of `own` with one of `other` by their splits, and list the first of them.

    A row that is there exactly does not count as near, too. Exact pairs come first, and of these those of test.
    """
    near = near[~np.isin(near[:, 0], exact[:, 0])]
    counts: list[LeakCount] = []
    leaks: list[Leak] = []
    kinds: tuple[tuple[Literal["exact", "near"], Pairs], ...] = (("exact", exact), ("near", near))
    for kind, pairs in kinds:
        own_split, other_split = own.split[pairs[:, 0]], other.split[pairs[:, 1]]
        for a in (2, 1, 0):
            for b in range(len(SPLITS)):
                chosen = pairs[(own_split == a) & (other_split == b)]
                if not len(chosen):
                    continue
                counts.append(LeakCount(kind=kind, split=SPLITS[a], other_split=SPLITS[b], rows=len(chosen)))
                leaks += [
                    Leak(
                        kind=kind,
                        row=int(own.rows[i]),
                        split=SPLITS[a],
                        other_row=int(other.rows[j]),
                        other_split=SPLITS[b],
                    )
                    for i, j in chosen[: MAX_LISTED - len(leaks)]
                ]
    return tuple(counts), tuple(leaks)


def _advise_splits(modality: ModalityKind, counts: tuple[LeakCount, ...]) -> str:
    if not counts:
        return "No row of validation or test is in train, exactly or nearly."
    if modality in {"table", "series"}:
        return (
            "Rows of validation and test have the inputs of rows of train, exactly or nearly. Where each row is an"
            " observation of its own, as in a survey, that is as it should be. Where some are copies, let the step"
            " duplicates remove them; a column with the role group keeps what belongs together in one split."
        )
    if any(count.kind == "exact" for count in counts):
        return (
            "Rows of train come again in validation or test, so that measurements there are too good. Let the step"
            " duplicates remove them, or keep what belongs together in one split by a column with the role group."
        )
    return (
        "Rows nearly as in train are in validation or test. Look at them; the step near_duplicates with action remove"
        " keeps one of each kind, and a column with the role group keeps what belongs together in one split."
    )


def _advise_against(counts: tuple[LeakCount, ...], other_id: str) -> str:
    if not counts:
        return f"No row is in {other_id}, exactly or nearly."
    seen = sum(count.rows for count in counts if count.split != "train" and count.other_split == "train")
    if not seen:
        return (
            f"No row of validation or test is in the train split of {other_id}, so nothing that judges was learned"
            " from."
        )
    return (
        f"{seen} rows of validation and test are in the train split of {other_id}: a backbone that learned from it has"
        f" seen them, without their labels. For a fair measurement prepare {other_id} anew with same_splits_as set to"
        " this dataset, which takes the exact ones out of its train split, and look at those that are near."
    )
