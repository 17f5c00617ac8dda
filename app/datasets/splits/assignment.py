"""Assigns rows to train, validation and test by their content and a seed, never by their order.

Within each class the rows are sorted by a hash of their inputs and the seed and cut in proportion, so that the same
rows in another order get the same splits. Shares are carried over from class to class: totals are exact, each class is
off by less than one row, and every class keeps at least one row in train. Rows with a time are split by it instead,
the latest into test; rows of an earlier dataset keep the split that they have there.
"""

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bytes, Floats, Frame, Ints
from app.datasets.frames.digests import Digests, group_ids
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.datasets.splits.earlier import EarlierDataset
from app.ml.spec import SPLITS

Keys: TypeAlias = npt.NDArray[np.uint64]
MIN_ROWS_TO_SHARE = 3


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
    if frame.given_split is not None:
        return _check_given(frame.given_split, notes)
    known_split = (
        np.full(len(digests), -1)
        if earlier is None
        else _earlier_splits(frame, digests if known_as is None else known_as, earlier, notes)
    )
    split = np.maximum(known_split, 0).astype(np.uint8)
    new = np.flatnonzero(known_split < 0)
    if len(new):
        split[new] = _split_new(frame, digests, new, options, notes)
    if not (split == 0).any():
        message = "no row is left for train: all of them are in validation or test of the earlier dataset"
        raise DatasetError(Code.BAD_SPLIT, message, [RowError(("same_splits_as",), message)])
    return split


def _check_one_way(frame: Frame, earlier: EarlierDataset | None) -> None:
    if frame.given_split is not None and earlier is not None:
        message = "the file has a column that says the splits, and so does same_splits_as; ignore one of them"
        raise DatasetError(Code.BAD_SPLIT, message, [RowError(("same_splits_as",), message)])
    if frame.groups is not None and frame.times is not None:
        message = "rows are split by group or by time, not by both; give one of the two columns another role"
        raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])


def _earlier_splits(frame: Frame, digests: Digests, earlier: EarlierDataset, notes: Notes) -> Ints:
    """Return the split of each row in the earlier dataset, -1 = not in it, (N,); a group follows its known rows."""
    known_split = earlier.splits_of(digests, frame.rows)
    known_rows = int((known_split >= 0).sum())
    notes.decide(
        "splits", f"as in {earlier.id}", f"{known_rows} of {len(known_split)} rows are in it and keep their split"
    )
    if not known_rows:
        notes.notice(f"no row is in {earlier.id}; do the columns, or the size of the images, differ?")
    if frame.groups is not None:
        groups = group_ids(frame.groups[:, None])
        split_of_group = np.full(int(groups.max()) + 1, -1)
        np.maximum.at(split_of_group, groups, known_split)
        known_split = split_of_group[groups]
    return known_split


def _split_new(frame: Frame, digests: Digests, new: Ints, options: PrepareOptions, notes: Notes) -> Bytes:
    """Return the splits of the rows at the positions `new` (n,): by group, position, time or content, (n,)."""
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
    return _split_classes(frame, digests, new, options, notes)


def _split_classes(frame: Frame, digests: Digests, new: Ints, options: PrepareOptions, notes: Notes) -> Bytes:
    """Split by content, in proportion to the classes of the first target with classes; unlabelled rows go to train."""
    targets = frame.targets[new]
    strata = _strata(frame, targets, notes)
    labelled = ~np.isnan(targets).all(axis=1) if frame.target_specs else np.ones(len(new), dtype=np.bool_)
    split = np.zeros(len(new), dtype=np.uint8)  # a row without a label cannot evaluate anything
    if labelled.any():
        split[labelled] = split_rows(digests[new[labelled]], None if strata is None else strata[labelled], options)
    return split


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


def split_rows(digests: Keys, strata: Floats | None, options: PrepareOptions) -> Bytes:
    """Return the split of each row, 0, 1 or 2, (N,); digests (N, 2), strata (N,) class codes, NaN = unlabelled."""
    count = len(digests)
    codes = np.zeros(count) if strata is None else np.where(np.isnan(strata), -1, strata)
    order = np.lexsort((digests[:, 1], _mix_with_seed(digests[:, 0], options.seed), codes))
    _, sizes = np.unique(codes, return_counts=True)
    shares = [options.splits.get(split, 0.0) for split in SPLITS]
    quotas = _quotas(sizes.astype(np.int64), shares)
    split = np.zeros(count, dtype=np.uint8)
    start = 0
    for size, validation, test in zip(sizes, *quotas, strict=True):
        # `order` holds the classes one after the other: of each the first rows validate and the next ones test.
        split[order[start : start + validation]] = 1
        split[order[start + validation : start + validation + test]] = 2
        start += size
    return split


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
    test = options.splits.get("test", 0.0)
    edges = (test, test + options.splits.get("validation", 0.0))
    codes = np.where(middle < edges[0], 2, np.where(middle < edges[1], 1, 0)).astype(np.uint8)
    if not (codes == 0).any():
        codes[-1] = 0
    by_group = np.empty(len(sizes), dtype=np.uint8)
    by_group[order] = codes
    return by_group


def _check_given(split: Bytes, notes: Notes) -> Bytes:
    """Return the split of the file (N,), or refuse one without train rows."""
    if not (split == 0).any():
        raise DatasetError(Code.BAD_SPLIT, "the split column puts no row into train; a model learns from those")
    notes.decide("splits", "given", "the file says which row belongs to which split")
    return split


def _mix_with_seed(keys: Keys, seed: int) -> Keys:
    """Hash 64-bit keys (N,) together with the seed (the finalizer of SplitMix64, Steele et al. 2014), (N,)."""
    salt = np.uint64(int.from_bytes(hashlib.sha256(f"split:{seed}".encode()).digest()[:8], "big"))
    mixed = keys ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _quotas(sizes: Ints, shares: list[float]) -> tuple[Ints, Ints]:
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
