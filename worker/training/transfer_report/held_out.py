"""Which rows each round of a transfer report trains on, and which it scores."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.ml.configs.transfer_report import ResolvedTransferReport
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Rows
from app.ml.spec import SPLITS, Split
from worker.training.cross_validation import assign_folds, with_rows, with_validation_rows

_MAX_SCORED_ROWS = 5000  # of a split: more would narrow no interval that matters


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Folds of the labelled train rows, drawn anew each round; or the same rows of another split every time."""

    data: ArrayData
    labels: tuple[str, ...]
    report: ResolvedTransferReport
    folds: int  # into how many parts the train rows are cut, at most as many as the report asks for

    @property
    def in_folds(self) -> bool:
        """Whether train rows are held out, fold by fold."""
        return self.report.measured_on == "folds"

    @property
    def split(self) -> Split:
        """The split of each of `datasets` whose rows are scored."""
        return self.report.measured_on if self.report.measured_on in SPLITS else "validation"

    @property
    def rows(self) -> Rows:
        """Positions (n,) of the labelled train rows."""
        return self.data.positions("train", self.labels)

    def datasets(self, number: int) -> Iterator[ArrayData]:
        """The datasets of round `number`: the same data with other train and scored rows, one for each fold."""
        if not self.in_folds:
            # The same sample of the split in every round (seed 0): rounds differ by training alone.
            scored = _shuffled(self.data.positions(self.split, self.labels), 0)[:_MAX_SCORED_ROWS]
            yield with_rows(self.data, self.split, scored)
            return
        # Folds follow the order of the rows, so that shuffling draws other folds.
        rows = _shuffled(self.rows, number)
        folds = assign_folds(self.data, self.labels, rows, self.folds)
        for fold in range(self.folds):
            if (folds == fold).any():
                yield with_validation_rows(self.data, rows, folds == fold)

    def halved(self, dataset: ArrayData, halvings: int, number: int) -> ArrayData:
        """The same dataset with 1 / 2^halvings of its labelled train rows, of each class alike."""
        rows = _shuffled(dataset.positions("train", self.labels), number, halvings)
        return with_rows(dataset, "train", rows[assign_folds(dataset, self.labels, rows, 2**halvings) == 0])


def _shuffled(rows: Rows, *seed: int) -> Rows:
    shuffled: Rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    return shuffled
