"""Which rows train, validate and test: decided by content and seed, never by order.

A row's place is a hash of its inputs and the seed. Within each class rows are sorted by place and cut in proportion,
so that the same rows in another order fall into the same splits. Shares are carried over from class to class: totals
are exact, each class is off by less than one row, and every class keeps at least one row to train on.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from app.datasets.errors import Code, DatasetError
from app.datasets.frame import Bytes, Floats, Ints, Notes
from app.datasets.options import PrepareOptions
from app.ml.spec import SPLITS

Keys = npt.NDArray[np.uint64]
ENOUGH = 3


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
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / len(groups)
    test = options.splits.get("test", 0.0)
    edges = (test, test + options.splits.get("validation", 0.0))
    codes = np.where(middle < edges[0], 2, np.where(middle < edges[1], 1, 0)).astype(np.uint8)
    if not (codes == 0).any():
        codes[-1] = 0
    by_group = np.empty(len(distinct), dtype=np.uint8)
    by_group[order] = codes
    return by_group[inverse]


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
