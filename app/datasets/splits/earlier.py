"""An earlier dataset whose splits a new one keeps."""

from dataclasses import dataclass

import numpy as np

from app.datasets.frames import Bytes, Ints
from app.datasets.frames.digests import Digests, find_rows


@dataclass(frozen=True, slots=True)
class EarlierDataset:
    """A dataset whose rows keep their splits: its id, digests (M, 2) and splits (M,).

    Where the new dataset is made from the same source, also the numbers of its rows there (M,): cleaning may change
    what a row holds, and it remains the same row. `rounded`: an earlier release prepared it, whose digests were of
    numbers rounded to float32.
    """

    id: str
    digests: Digests
    split: Bytes
    rows: Ints | None = None
    rounded: bool = False

    def splits_of(self, digests: Digests, rows: Ints) -> Ints:
        """Return the split here of each row, by its number (N,) or else by its digest (N, 2); -1 = not in here, (N,).

        A digest that is in several splits counts as of the last of them: train, validation, test.
        """
        by_split = np.argsort(-self.split.astype(np.int64), kind="stable")
        positions = find_rows(digests, self.digests[by_split])
        splits = np.where(positions >= 0, self.split[by_split][positions].astype(np.int64), -1)
        if self.rows is None:
            return splits
        by_row = np.argsort(self.rows)
        nearest = by_row[np.minimum(np.searchsorted(self.rows[by_row], rows), len(by_row) - 1)]
        return np.where(self.rows[nearest] == rows, self.split[nearest].astype(np.int64), splits)
