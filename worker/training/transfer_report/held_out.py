"""Which rows a transfer report trains on and which it measures on, round by round."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.ml.configs.transfer_report import TransferReport
from app.ml.data.arrays import ArrayData
from app.ml.data.spec import SPLITS, Split
from app.ml.interfaces import Rows
from worker.training.cross_validation import folds_of, only, with_held_out

_MAX_MEASURED = 5000  # rows of a split: more would narrow no interval that matters


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Folds of the labelled train rows, others each round; or the same rows of a split each time."""

    data: ArrayData
    labels: tuple[str, ...]
    report: TransferReport

    @property
    def in_folds(self) -> bool:
        """Whether train rows are held out."""
        return self.report.measured_on == "folds"

    @property
    def split(self) -> Split:
        """What is measured on, in each of `splits`."""
        return self.report.measured_on if self.report.measured_on in SPLITS else "validation"

    @property
    def rows(self) -> Rows:
        """Positions (n,) of the labelled train rows."""
        return self.data.positions("train", self.labels)

    def splits(self, number: int) -> Iterator[ArrayData]:
        """The same data, divided to train and to measure on."""
        if not self.in_folds:
            measured = _shuffled(self.data.positions(self.split, self.labels), 0)[:_MAX_MEASURED]
            yield only(self.data, self.split, measured)
            return
        rows = _shuffled(self.rows, number)
        folds = folds_of(self.data, self.labels, rows, self.report.folds)
        for fold in range(self.report.folds):
            if (folds == fold).any():
                yield with_held_out(self.data, rows, folds == fold)

    def some(self, split: ArrayData, halvings: int, number: int) -> ArrayData:
        """The same with a half, a fourth ... of its labelled train rows, of each class alike."""
        rows = _shuffled(split.positions("train", self.labels), number, halvings)
        return only(split, "train", rows[folds_of(split, self.labels, rows, 2**halvings) == 0])


def _shuffled(rows: Rows, *seed: int) -> Rows:
    shuffled: Rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    return shuffled
