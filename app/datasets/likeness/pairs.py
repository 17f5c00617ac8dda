"""Candidate pairs by sorting: rows with a common key become neighbours.

The sorted-neighbourhood method (Hernandez and Stolfo 1995): for each of several keys the rows are sorted by it, and
each row is compared with the next few of the same key. It takes O(N log N) time whatever the data, and bounded memory;
where more rows share a key than the window is long, some of their pairs are not compared.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

WINDOW = 6
Ints: TypeAlias = npt.NDArray[np.int64]
Pairs: TypeAlias = npt.NDArray[np.int64]
Test: TypeAlias = Callable[[Ints, Ints], npt.NDArray[np.bool_]]


def neighbours(keys: npt.NDArray[Any], test: Test, order_by: npt.NDArray[Any] | None = None) -> Pairs:
    """Return the pairs that share a key and pass `test(first, second)`, (P, 2): lower position first, each once.

    `keys` (N, B) are B keys of each row. Rows with the same key are sorted by their next key, then by `order_by`
    (N, B), numbers that are close where rows are alike.
    """
    passed = [pairs for band in range(keys.shape[1]) for pairs in _neighbours_by_key(keys, band, test, order_by)]
    if not passed:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.sort(np.concatenate(passed), axis=1)
    flat = np.unique(pairs[:, 0] * len(keys) + pairs[:, 1])
    return np.stack([flat // len(keys), flat % len(keys)], axis=1)


def _neighbours_by_key(
    keys: npt.NDArray[Any], band: int, test: Test, order_by: npt.NDArray[Any] | None
) -> Iterator[Pairs]:
    """Yield the pairs that share the key `band` and pass the test, by their distance in the sorted order."""
    sort_keys = (keys[:, (band + 1) % keys.shape[1]], keys[:, band])
    order = np.lexsort(sort_keys if order_by is None else (order_by[:, band], *sort_keys))
    sorted_keys = keys[order, band]
    for offset in range(1, min(WINDOW, len(order) - 1) + 1):
        same_key = np.flatnonzero(sorted_keys[offset:] == sorted_keys[:-offset])
        if not len(same_key):
            return
        first, second = order[same_key], order[same_key + offset]
        passed = test(first, second)
        yield np.stack([first[passed], second[passed]], axis=1)


def between(pairs: Pairs, border: int) -> Pairs:
    """Return for each row below `border` its first pair with a row from `border` on, counted from there, (P, 2)."""
    crossing: Pairs = pairs[(pairs[:, 0] < border) & (pairs[:, 1] >= border)]
    _, first = np.unique(crossing[:, 0], return_index=True)
    return crossing[first] - np.array([0, border], dtype=np.int64)
