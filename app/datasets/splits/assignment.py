"""Which rows train, validate and test: decided by content and seed, never by order.

A row's place is a hash of its inputs and the seed. Within each class rows are sorted by place and cut in proportion,
so that the same rows in another order fall into the same splits. Shares are carried over from class to class: totals
are exact, each class is off by less than one row, and every class keeps at least one row to train on. Rows with a time
are split by it instead, the latest into test; rows of an earlier dataset keep the split they have there.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bytes, Floats, Frame, Ints
from app.datasets.frames.digests import Digests, number_rows
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.datasets.splits.leakage import Earlier
from app.ml.data.spec import SPLITS

Keys = npt.NDArray[np.uint64]
ENOUGH = 3


def assign_splits(
    frame: Frame, digests: Digests, options: PrepareOptions, notes: Notes, earlier: Earlier | None = None
) -> Bytes:
    """Return 0, 1 or 2 for each row of `frame`, whose inputs have `digests` (N, 2).

    Raises:
        DatasetError: bad_split, or bad_roles where two ways to split are asked for at once.
    """
    _check_one_way(frame, earlier)
    if frame.given_split is not None:
        return check_given(frame.given_split, notes)
    known = np.full(len(digests), -1) if earlier is None else _known(frame, digests, earlier, notes)
    split = np.maximum(known, 0).astype(np.uint8)
    fresh = np.flatnonzero(known < 0)
    if len(fresh):
        split[fresh] = _split_fresh(frame, digests, fresh, options, notes)
    if not (split == 0).any():
        message = "no row is left for train: all of them are in validation or test of the earlier dataset"
        raise DatasetError(Code.BAD_SPLIT, message, [RowError(("same_splits_as",), message)])
    return split


def _check_one_way(frame: Frame, earlier: Earlier | None) -> None:
    if frame.given_split is not None and earlier is not None:
        message = "the file has a column that says the splits, and so does same_splits_as; ignore one of them"
        raise DatasetError(Code.BAD_SPLIT, message, [RowError(("same_splits_as",), message)])
    if frame.groups is not None and frame.times is not None:
        message = "rows are split by group or by time, not by both; give one of the two columns another role"
        raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])


def _known(frame: Frame, digests: Digests, earlier: Earlier, notes: Notes) -> Ints:
    """Return the split of each row in the earlier dataset, -1 where it is new; a group follows its known rows."""
    known = earlier.splits_of(digests, frame.rows)
    found = int((known >= 0).sum())
    notes.decide("splits", f"as in {earlier.id}", f"{found} of {len(known)} rows are in it and keep their split")
    if not found:
        notes.notice(f"no row is in {earlier.id}; do the columns, or the size of the images, differ?")
    if frame.groups is not None:
        groups = number_rows(frame.groups[:, None])
        of_group = np.full(int(groups.max()) + 1, -1)
        np.maximum.at(of_group, groups, known)
        known = of_group[groups]
    return known


def _split_fresh(frame: Frame, digests: Digests, fresh: Ints, options: PrepareOptions, notes: Notes) -> Bytes:
    """Split the rows at `fresh` as the frame asks for: by group, by time, or by content."""
    if frame.groups is not None:
        notes.decide("splits", "by group", "rows of one group stay in one split")
        return split_groups(frame.groups[fresh], options)
    if frame.windows:
        notes.decide("splits", "by position", "pieces of one text: its end is test, so that none is learned from")
        return split_times(fresh.astype(np.float64), options)
    if frame.times is not None:
        notes.decide(
            "splits", "by time", "the latest rows are test, the ones before validation; equal times stay together"
        )
        return split_times(frame.times[fresh], options)
    return _split_classes(frame, digests, fresh, options, notes)


def _split_classes(frame: Frame, digests: Digests, fresh: Ints, options: PrepareOptions, notes: Notes) -> Bytes:
    """Split by content, in proportion to the classes of the first target that has some; unlabelled rows train."""
    targets = frame.targets[fresh]
    strata = _strata(frame, targets, notes)
    labelled = ~np.isnan(targets).all(axis=1) if frame.target_specs else np.ones(len(fresh), dtype=np.bool_)
    split = np.zeros(len(fresh), dtype=np.uint8)  # what nobody labelled can only be learned from
    if labelled.any():
        split[labelled] = split_rows(digests[fresh[labelled]], None if strata is None else strata[labelled], options)
    return split


def _strata(frame: Frame, targets: Floats, notes: Notes) -> Floats | None:
    """The class (N,) of the first target of classes, of lists the rarest label; None where there is neither."""
    for t, spec in enumerate(frame.target_specs):
        if spec.type == "category" and spec.group is None:
            notes.decide("splits", f"stratified by {spec.name}", "every split holds the classes in proportion")
            return targets[:, t]
    group = next((spec.group for spec in frame.target_specs if spec.group is not None), None)
    if group is None:
        return None
    notes.decide("splits", f"stratified by {group}", "by a row's rarest label: every split holds some of each")
    return _rarest(targets[:, [spec.group == group for spec in frame.target_specs]])


def _rarest(labels: Floats) -> Floats:
    """Of rows (N, K) of 0 and 1 the rarest label that each has, from 1; 0 where it has none, NaN where nobody knows."""
    there = labels == 1
    rarest = np.where(there, there.sum(0), len(labels) + 1).argmin(1) + 1.0
    return np.where(np.isnan(labels).all(1), np.nan, np.where(there.any(1), rarest, 0.0))


def split_rows(digests: Keys, strata: Floats | None, options: PrepareOptions) -> Bytes:
    """Return 0, 1 or 2 for each row; digests (N, 2), strata (N,) class codes, NaN = unlabelled."""
    count = len(digests)
    codes = np.zeros(count) if strata is None else np.where(np.isnan(strata), -1, strata)
    order = np.lexsort((digests[:, 1], place(digests[:, 0], options.seed), codes))
    _, sizes = np.unique(codes, return_counts=True)
    shares = [options.splits.get(split, 0.0) for split in SPLITS]
    quotas = _quotas(sizes.astype(np.int64), shares)
    out = np.zeros(count, dtype=np.uint8)
    start = 0
    for size, validation, test in zip(sizes, *quotas, strict=True):
        out[order[start : start + validation]] = 1
        out[order[start + validation : start + validation + test]] = 2
        start += size
    return out


def split_groups(groups: Keys, options: PrepareOptions) -> Bytes:
    """Return 0, 1 or 2 for each row such that rows of one group stay together; groups (N,) digests."""
    distinct, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((distinct, place(distinct, options.seed)))
    return _cut(order, sizes, options)[inverse]


def split_times(times: Floats, options: PrepareOptions) -> Bytes:
    """Return 0, 1 or 2 for each row such that the latest are test; rows of one time stay together; times (N,)."""
    _, inverse, sizes = np.unique(times, return_inverse=True, return_counts=True)
    return _cut(np.arange(len(sizes))[::-1], sizes, options)[inverse]


def _cut(order: Ints, sizes: Ints, options: PrepareOptions) -> Bytes:
    """Cut bunches of rows, taken in `order`, into test, validation and train by where their middle lies."""
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    test = options.splits.get("test", 0.0)
    edges = (test, test + options.splits.get("validation", 0.0))
    codes = np.where(middle < edges[0], 2, np.where(middle < edges[1], 1, 0)).astype(np.uint8)
    if not (codes == 0).any():
        codes[-1] = 0
    by_bunch = np.empty(len(sizes), dtype=np.uint8)
    by_bunch[order] = codes
    return by_bunch


def check_given(split: Bytes, notes: Notes) -> Bytes:
    """Refuse a given split without training rows."""
    if not (split == 0).any():
        raise DatasetError(Code.BAD_SPLIT, "the split column puts no row into train; a model learns from those")
    notes.decide("splits", "given", "the file says which row belongs to which split")
    return split


def place(keys: Keys, seed: int) -> Keys:
    """Mix 64-bit keys with the seed (the finalizer of SplitMix64, Steele et al. 2014), (N,)."""
    salt = np.uint64(int.from_bytes(hashlib.sha256(f"split:{seed}".encode()).digest()[:8], "big"))
    mixed = keys ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _quotas(sizes: Ints, shares: list[float]) -> tuple[Ints, Ints]:
    """Return how many rows of each class validate and how many test."""
    validation, test = _portions(sizes, shares[1]), _portions(sizes, shares[2])
    over = np.maximum(0, validation + test - (sizes - 1))
    from_test = np.minimum(test, over)
    test = test - from_test
    validation = validation - (over - from_test)
    largest = int(np.argmax(sizes))
    for quota, share in ((validation, shares[1]), (test, shares[2])):
        if share and not quota.sum() and sizes[largest] >= ENOUGH:
            quota[largest] = 1
    return validation, test


def _portions(sizes: Ints, share: float) -> Ints:
    """Cut `share` from each class; the total is rounded half up, whatever the last bits of 0.1 * 35 say."""
    ends: Ints = np.floor(np.cumsum(sizes) * share + 0.5 + 1e-9).astype(np.int64)
    ends[1:] -= ends[:-1].copy()
    return ends
