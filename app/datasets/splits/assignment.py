"""Assigns rows to train, validation and test by their content and a seed, never by their order.

Within each class the rows are sorted by a hash of their inputs and the seed and cut in proportion, so that the same
rows in another order get the same splits. Shares are carried over from class to class: totals are exact, each class is
off by less than one row, and every class keeps at least one row in train.

Equal rows of tables and series are observations: each has a hash of its own, of all that it holds and how many such
rows came before it, so that the classes of equal rows have the same chances in every split. Equal images and texts stay
in one split.

Rows with a time are split by it instead, the latest into test; rows of an earlier dataset keep the split that they have
there. A row without a label evaluates nothing and is in train, unless its group is not.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bools, Bytes, Floats, Frame, Ints
from app.datasets.frames.digests import Digests, digest_labels, digest_rows, group_ids, occurrences
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.datasets.splits.earlier import EarlierDataset
from app.ml.spec import ModalityKind

Keys: TypeAlias = npt.NDArray[np.uint64]
MIN_ROWS_TO_SHARE = 3
OBSERVED: frozenset[ModalityKind] = frozenset({"table", "series"})
"""Modalities of which equal rows are observations."""
SplitCode = TypeVar("SplitCode", np.uint8, np.int64)


def assign_splits(
    frame: Frame,
    digests: Digests,
    options: PrepareOptions,
    notes: Notes,
    earlier: EarlierDataset | None = None,
    known_as: Digests | None = None,
) -> Bytes:
    """Return the split of each row of `frame`, 0, 1 or 2, (N,).

    `digests` (N, 2) are those of its inputs; by `known_as`, where that is given, the earlier dataset knows them.

    Raises:
        DatasetError: bad_split, or bad_roles where two ways to split are requested at once.
    """
    _check_one_way(frame, earlier)
    labelled = _labelled(frame)
    if frame.given_split is not None:
        return _check_given(frame.given_split, labelled, notes)
    known_split = np.full(len(digests), -1)
    if earlier is not None:
        known_split = _earlier_splits(frame, digests if known_as is None else known_as, labelled, earlier, notes)
    split: Bytes = np.maximum(known_split, 0).astype(np.uint8)
    new = np.flatnonzero((known_split < 0) & labelled)
    if len(new):
        split[new] = _split_new(frame, digests, new, np.flatnonzero(known_split >= 0), options, notes)
    if frame.groups is not None:
        split = _largest_of_group(frame.groups, split)  # unlabelled rows are where the labelled ones of their group are
    if not (split == 0).any():
        message = "no row is left for train: all of them are in validation or test of the earlier dataset"
        raise DatasetError(Code.BAD_SPLIT, message, [RowError(("same_splits_as",), message)])
    return split


def are_usual(frame: Frame, options: PrepareOptions, earlier: EarlierDataset | None) -> bool:
    """Whether rows are drawn into splits one by one with the usual shares, since nobody said how."""
    if frame.given_split is not None or frame.groups is not None or frame.times is not None or frame.windows:
        return False
    return options.splits == "auto" and (earlier is None or earlier.usual)


def _labelled(frame: Frame) -> Bools:
    """Return which rows have a label, (N,): all of them where there are no targets."""
    if not frame.target_specs:
        return np.ones(len(frame.rows), dtype=np.bool_)
    return np.asarray(~np.isnan(frame.targets).all(axis=1), dtype=np.bool_)


def _check_one_way(frame: Frame, earlier: EarlierDataset | None) -> None:
    if frame.given_split is not None and earlier is not None:
        message = "the file has a column that says the splits, and so does same_splits_as; ignore one of them"
        raise DatasetError(Code.BAD_SPLIT, message, [RowError(("same_splits_as",), message)])
    if frame.groups is not None and frame.times is not None:
        message = "rows are split by group or by time, not by both; give one of the two columns another role"
        raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])


def _earlier_splits(frame: Frame, digests: Digests, labelled: Bools, earlier: EarlierDataset, notes: Notes) -> Ints:
    """Return the split of each labelled row in the earlier dataset, -1 = not in it, (N,); a group follows its rows."""
    known_split = np.full(len(digests), -1)
    labels = digest_labels(frame.targets[labelled], frame.target_specs) if frame.modality in OBSERVED else None
    known_split[labelled] = earlier.splits_of(digests[labelled], frame.rows[labelled], labels)
    known_rows = int((known_split >= 0).sum())
    notes.decide(
        "splits", f"as in {earlier.id}", f"{known_rows} of {len(known_split)} rows are in it and keep their split"
    )
    if not known_rows:
        notes.notice(f"no row is in {earlier.id}; do the columns, or the size of the images, differ?")
    return known_split if frame.groups is None else _largest_of_group(frame.groups, known_split)


def _split_new(frame: Frame, digests: Digests, new: Ints, known: Ints, options: PrepareOptions, notes: Notes) -> Bytes:
    """Return the splits of the rows at the positions `new` (n,): by group, position, time or content, (n,).

    The rows at `known` (k,) have a split already.
    """
    if frame.groups is not None:
        notes.decide("splits", "by group", "rows of one group stay in one split")
        return split_groups(frame.groups[new], options)
    if frame.windows:
        notes.decide("splits", "by position", "pieces of one text: its end is test, so that none is learned from")
        return split_times(new.astype(np.float64), options)
    if frame.times is not None:
        notes.decide(
            "splits", "by time", "the latest rows are test, the ones before validation; equal times stay together"
        )
        return split_times(frame.times[new], options)
    strata = _strata(frame, frame.targets[new], notes)
    if frame.modality in OBSERVED:
        return split_rows(_keys_of_observations(frame, digests, new, known), strata, options)
    return split_equals(digests[new], strata, options)


def _largest_of_group(groups: Keys, split: npt.NDArray[SplitCode]) -> npt.NDArray[SplitCode]:
    """Return for each row the largest split (N,) of the rows of its group, (N,)."""
    ids = group_ids(groups[:, None])
    largest = np.full(int(ids.max()) + 1, split.min(), dtype=split.dtype)
    np.maximum.at(largest, ids, split)
    return largest[ids]


def _keys_of_observations(frame: Frame, digests: Digests, rows: Ints, known: Ints) -> Digests:
    """Return a digest for each of the `rows` (n,), different ones even for equal rows, (n, 2).

    A row whose inputs no other row has keeps the digest of these. Others get one of their inputs, their labels and how
    many such rows came before, those at `known` (k,) first. Which row of equals is the first does not matter, as they
    are equal in all.
    """
    inputs = group_ids(digests[np.concatenate([rows, known])])
    own, before = inputs[: len(rows)], np.bincount(inputs[len(rows) :], minlength=len(inputs))
    repeated = np.bincount(inputs)[own] > 1
    keys = digests[rows]
    if repeated.any():
        labels = digest_labels(frame.targets[rows[repeated]], frame.target_specs)
        parts = np.concatenate([keys[repeated], labels], axis=1)
        place = (occurrences(group_ids(parts)) + before[own[repeated]]).astype(np.uint64)
        keys[repeated] = digest_rows(np.concatenate([parts, place[:, None]], axis=1))
    return keys


def _strata(frame: Frame, targets: Floats, notes: Notes) -> Floats | None:
    """Return the class of each row by the first target with classes, of lists of labels the rarest, (N,); else None."""
    for t, spec in enumerate(frame.target_specs):
        if spec.type == "category" and spec.group is None:
            notes.decide("splits", f"stratified by {spec.name}", "every split holds the classes in proportion")
            return targets[:, t]
    group = next((spec.group for spec in frame.target_specs if spec.group is not None), None)
    if group is None:
        return None
    notes.decide("splits", f"stratified by {group}", "by a row's rarest label: every split holds some of each")
    return _rarest_label(targets[:, [spec.group == group for spec in frame.target_specs]])


def _rarest_label(labels: Floats) -> Floats:
    """Return the rarest label of each row (N, K) of 0 and 1, counted from 1; 0 = no label, NaN = unknown, (N,)."""
    present = labels == 1
    # A label that the row lacks counts as more frequent than any label can be, so that argmin never picks it.
    rarest = np.where(present, present.sum(0), len(labels) + 1).argmin(1) + 1.0
    return np.where(np.isnan(labels).all(1), np.nan, np.where(present.any(1), rarest, 0.0))


def split_rows(digests: Keys, strata: Floats | None, options: PrepareOptions, sizes: Ints | None = None) -> Bytes:
    """Return the split of each row, 0, 1 or 2, (N,); digests (N, 2), strata (N,) class codes, NaN = unlabelled.

    With `sizes` (N,) each row stands for so many that stay together.
    """
    count = len(digests)
    sizes = np.ones(count, dtype=np.int64) if sizes is None else sizes
    codes = np.zeros(count) if strata is None else np.where(np.isnan(strata), -1, strata)
    order = np.lexsort((digests[:, 1], _mix_with_seed(digests[:, 0], options.seed), codes))
    _, starts = np.unique(codes[order], return_index=True)
    quotas = _quotas(np.add.reduceat(sizes[order], starts), options.shares)
    split = np.zeros(count, dtype=np.uint8)
    for members, validation, test in zip(np.split(order, starts[1:]), *quotas, strict=True):
        split[members] = _fill(sizes[members], int(validation), int(test))
    for code, quota in ((1, quotas[0]), (2, quotas[1])):
        if quota.any() and not (split == code).any():
            _give_smallest(code, split, order, sizes, codes)
    return split


def _give_smallest(code: int, split: Bytes, order: Ints, sizes: Ints, classes: Floats) -> None:
    """Put the first of the smallest groups in train into a split without rows, of a class that keeps another one."""
    _, inverse = np.unique(classes, return_inverse=True)
    in_train = np.bincount(inverse, weights=split == 0)[inverse]
    movable = order[(split[order] == 0) & (in_train[order] > 1)]
    if len(movable):
        split[movable[np.argmin(sizes[movable])]] = code


def _fill(sizes: Ints, validation: int, test: int) -> Bytes:
    """Fill validation and then test up to their rows with groups of `sizes` (G,), in order; return their splits, (G,).

    A group of which less than half has room is passed over. One group at least is train.
    """
    split = np.zeros(len(sizes), dtype=np.uint8)
    room = {1: validation, 2: test}
    for position, size in enumerate(sizes.tolist()):
        if max(room.values()) <= 0:
            break
        code = next((code for code, rows in room.items() if 2 * rows >= size), 0)
        split[position] = code
        if code:
            room[code] -= size
    if split.all():
        split[-1] = 0
    return split


def split_equals(digests: Keys, strata: Floats | None, options: PrepareOptions) -> Bytes:
    """Return the split of each row, 0, 1 or 2, (N,), one split for all rows of one digest (N, 2).

    Equal rows are split as rows of the class (N,) that most of them have.
    """
    ids = group_ids(digests)
    sizes = np.bincount(ids)
    codes = np.zeros(len(ids)) if strata is None else np.where(np.isnan(strata), -1, strata)
    (classes, votes) = np.unique(np.stack([ids, codes], axis=1), axis=0, return_counts=True)
    best = np.lexsort((classes[:, 1], -votes, classes[:, 0]))  # (group, class) by group, its most frequent class first
    first = best[np.unique(classes[best, 0], return_index=True)[1]]
    representatives = np.unique(ids, return_index=True)[1]
    return split_rows(digests[representatives], classes[first, 1], options, sizes)[ids]


def split_groups(groups: Keys, options: PrepareOptions) -> Bytes:
    """Return the split of each row, 0, 1 or 2, (N,), one split for each group; groups (N,) are digests."""
    distinct, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((distinct, _mix_with_seed(distinct, options.seed)))
    return _cut(order, sizes, options)[inverse]


def split_times(times: Floats, options: PrepareOptions) -> Bytes:
    """Return the split of each row by its time (N,), the latest rows test, one split for each time, (N,)."""
    _, inverse, sizes = np.unique(times, return_inverse=True, return_counts=True)
    return _cut(np.arange(len(sizes))[::-1], sizes, options)[inverse]


def _cut(order: Ints, sizes: Ints, options: PrepareOptions) -> Bytes:
    """Return the split of each group of rows, (G,): test, validation, train, by where its middle lies in `order` (G,).

    `sizes` (G,) are the rows of each group. One group at least is train.
    """
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    _, validation, test = options.shares
    edges = (test, test + validation)
    codes = np.where(middle < edges[0], 2, np.where(middle < edges[1], 1, 0)).astype(np.uint8)
    if not (codes == 0).any():
        codes[-1] = 0
    by_group = np.empty(len(sizes), dtype=np.uint8)
    by_group[order] = codes
    return by_group


def _check_given(split: Bytes, labelled: Bools, notes: Notes) -> Bytes:
    """Return the split of the file (N,), but train for rows that are not `labelled` (N,); refuse one without train."""
    moved = ~labelled & (split != 0)
    split = np.where(moved, 0, split).astype(np.uint8)
    if not (split == 0).any():
        raise DatasetError(Code.BAD_SPLIT, "the split column puts no row into train; a model learns from those")
    notes.decide("splits", "given", "the file says which row belongs to which split")
    if moved.any():
        what = "rows of validation and test have no label, evaluate nothing and are in train"
        notes.notice(f'{int(moved.sum())} {what}; unlabelled = "remove" leaves them out')
    return split


def _mix_with_seed(keys: Keys, seed: int) -> Keys:
    """Hash 64-bit keys (N,) together with the seed (the finalizer of SplitMix64, Steele et al. 2014), (N,)."""
    salt = np.uint64(int.from_bytes(hashlib.sha256(f"split:{seed}".encode()).digest()[:8], "big"))
    mixed = keys ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _quotas(sizes: Ints, shares: Sequence[float]) -> tuple[Ints, Ints]:
    """Return how many rows of each class, of `sizes` (C,), validate and how many test, (C,) and (C,)."""
    validation, test = _portions(sizes, shares[1]), _portions(sizes, shares[2])
    over = np.maximum(0, validation + test - (sizes - 1))  # one row of each class stays in train
    from_test = np.minimum(test, over)
    test = test - from_test
    validation = validation - (over - from_test)
    largest = int(np.argmax(sizes))
    for quota, share in ((validation, shares[1]), (test, shares[2])):
        if share and not quota.sum() and sizes[largest] >= MIN_ROWS_TO_SHARE:
            quota[largest] = 1
    return validation, test


def _portions(sizes: Ints, share: float) -> Ints:
    """Return `share` of each class in whole rows, (C,); their total is the rounded share of all rows.

    The 1e-9 rounds half up even where the last bits of a product such as 0.1 * 35 fall short of the half.
    """
    ends: Ints = np.floor(np.cumsum(sizes) * share + 0.5 + 1e-9).astype(np.int64)
    ends[1:] -= ends[:-1].copy()
    return ends
