"""Candidates for being alike, by sorting: rows that share a key come to lie side by side.

The sorted-neighbourhood method (Hernandez and Stolfo 1995): for each of several keys the rows are sorted by it, and
each row is compared with the next few of the same key. Rows that agree are found in O(N log N) whatever the data, and
in bounded memory; where more rows share a key than the window is long, some of their pairs are not looked at.
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
    """Return the pairs that share a key and pass `test(first, second)`, (P, 2): lower place first, each once.

    `keys` (N, B) are B keys a row. Rows with one key lie in the order of their next key, then of `order_by` (N, B),
    numbers that are close where rows are alike.
    """
    found = [pair for band in range(keys.shape[1]) for pair in _of_band(keys, band, test, order_by)]
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.sort(np.concatenate(found), axis=1)
    flat = np.unique(pairs[:, 0] * len(keys) + pairs[:, 1])
    return np.stack([flat // len(keys), flat % len(keys)], axis=1)


def _of_band(keys: npt.NDArray[Any], band: int, test: Test, order_by: npt.NDArray[Any] | None) -> Iterator[Pairs]:
    by = (keys[:, (band + 1) % keys.shape[1]], keys[:, band])
    order = np.lexsort(by if order_by is None else (order_by[:, band], *by))
    own = keys[order, band]
    for offset in range(1, min(WINDOW, len(order) - 1) + 1):
        at = np.flatnonzero(own[offset:] == own[:-offset])
        if not len(at):
            return
        first, second = order[at], order[at + offset]
        passed = test(first, second)
        yield np.stack([first[passed], second[passed]], axis=1)


def between(pairs: Pairs, border: int) -> Pairs:
    """Keep the pairs of a row below `border` with one from there on: for each of the former the first, (P, 2)."""
    crossing: Pairs = pairs[(pairs[:, 0] < border) & (pairs[:, 1] >= border)]
    _, first = np.unique(crossing[:, 0], return_index=True)
    return crossing[first] - np.array([0, border], dtype=np.int64)
