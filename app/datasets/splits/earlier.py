"""An earlier dataset whose splits a new one keeps."""

from dataclasses import dataclass

import numpy as np

from app.datasets.frames import Bytes, Ints
from app.datasets.frames.digests import Digests, find_each, find_rows


@dataclass(frozen=True, slots=True)
class EarlierDataset:
    """A dataset whose rows keep their splits: its id, digests (M, 2) and splits (M,).

    Where the new dataset is made from the same source, also the numbers of its rows there (M,): cleaning may change
    what a row holds, and it remains the same row. `labels` (M, 2) are digests of its targets. `rounded`: an earlier
    release prepared it, whose digests were of numbers rounded to float32. `usual`: nobody said how it was to be split.
    """

    id: str
    digests: Digests
    split: Bytes
    rows: Ints | None = None
    labels: Digests | None = None
    rounded: bool = False
    usual: bool = False

    def splits_of(self, digests: Digests, rows: Ints, labels: Digests | None = None) -> Ints:
        """Return the split here of each row, by its number (N,) or else by its digest (N, 2); -1 = not in here, (N,).

        Without `labels`, a digest that is in several splits counts as of the last of them: train, validation, test.
        With the digests of the rows' `labels` (N, 2), equal rows are observations, each of which is known as one here:
        the first as the first, those of the same labels before others.
        """
        splits, unused = self._by_number(rows)
        left = np.flatnonzero(splits < 0)
        if labels is None:
            by_split = np.argsort(-self.split.astype(np.int64), kind="stable")
            positions = find_rows(digests[left], self.digests[by_split])
            splits[left] = np.where(positions >= 0, self.split[by_split][positions].astype(np.int64), -1)
            return splits
        if self.labels is not None:
            left, unused = self._match(splits, left, unused, [digests, labels], [self.digests, self.labels])
        self._match(splits, left, unused, [digests], [self.digests])
        return splits

    def _by_number(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return the split of each row by its number, -1 = not in here, (N,), and the positions here of other rows."""
        splits, positions = np.full(len(rows), -1), np.arange(len(self.split))
        if self.rows is None:
            return splits, positions
        shared, own, other = np.intersect1d(rows, self.rows, assume_unique=True, return_indices=True)
        splits[own] = self.split[other]
        return splits, np.setdiff1d(positions, other) if len(shared) else positions

    def _match(
        self, splits: Ints, left: Ints, unused: Ints, keys: list[Digests], among: list[Digests]
    ) -> tuple[Ints, Ints]:
        """Write the `splits` of the rows at `left` that equal an unused one here; return what remains of both."""
        own, other = (
            np.concatenate([part[positions] for part in parts], axis=1)
            for parts, positions in ((keys, left), (among, unused))
        )
        matches = find_each(own, other)
        splits[left[matches >= 0]] = self.split[unused[matches[matches >= 0]]]
        return left[matches < 0], np.delete(unused, matches[matches >= 0])
