"""Which of the rows that an evaluation measures its model has learned from, and the warning about them.

Rows of the same upload are known by their numbers. Those of another one are known by their digests, unless tables
repeat their rows: where equal rows are separate observations, a new one may equal an old one and not be the same.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.artifacts import link_files
from app.datasets import repository as datasets
from app.datasets.canonical.fingerprints import OWN_FILES
from app.datasets.frames.digests import find_rows, group_ids
from app.datasets.repository import DatasetRow
from app.ml.interfaces import Rows
from app.ml.spec import MAX_WARNING_ROWS, SPLITS, Split, WarningCode, WarningItem
from app.models import repository as models
from app.models import service
from worker.attempt.context import JobContext

_FILES = ("split.npy", "rows.npy", *OWN_FILES)
_MIN_SHARE = 0.01  # of the rows of another upload that are known again; a few may be there by chance

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Chosen rows of a dataset: their numbers in the upload (n,), and digests (n, 2) where the dataset has any."""

    dataset: DatasetRow
    numbers: Rows
    digests: Rows | None


def warn_of_learned_rows(context: JobContext, dataset: DatasetRow, measured: Rows, model_ids: list[str]) -> None:
    """Warn where any of the models has learned from rows at these positions of the dataset."""
    rows = _open(context, dataset, context.folder / "measured", measured)
    for model_id in model_ids:
        known = np.zeros(len(measured), dtype=np.bool_)
        for learned in _learned(context, model_id):
            known |= _known(rows, learned)
        if known.any():
            context.attempt.warn([_warning(model_id, rows.numbers[known], len(measured))])


def _warning(model_id: str, known: Rows, measured: int) -> WarningItem:
    message = (
        f"The model {model_id} has learned from {len(known)} of the {measured} rows measured: on these the figures say "
        "how well it remembers, and not what it will do on new rows."
    )
    return WarningItem(
        code=WarningCode.EVALUATED_ON_TRAIN,
        message=message,
        count=len(known),
        rows=tuple(known[:MAX_WARNING_ROWS].tolist()),
        remedy='`"split": "test"`, or rows that it has not seen. A refitted model has learned from the test rows, too: '
        'the metrics of its job are of before, and `"refit": "no"` in the strategy keeps them out.',
    )


def _learned(context: JobContext, model_id: str) -> Iterator[_Rows]:
    """The rows of the datasets whose labels the model has learned, as far as they are still there."""
    learned = context.attempt.commit_with_retry(
        lambda session: [
            (row, splits)
            for dataset_id, splits in service.learned_splits(session, models.get(session, model_id)).items()
            if (row := datasets.find(session, context.job.project_id, dataset_id)) is not None
        ]
    )
    for row, splits in learned:
        if row.files is not None and set(_FILES) <= set(row.files):
            folder = context.folder / f"learned-{model_id}-{row.id}"
            yield _open(context, row, folder, splits=splits)


def _open(
    context: JobContext,
    dataset: DatasetRow,
    folder: Path,
    positions: Rows | None = None,
    *,
    splits: Collection[Split] = SPLITS,
) -> _Rows:
    """Open rows of a dataset by position; None: those of the splits."""
    files = {name: blob for name, blob in (dataset.files or {}).items() if name in _FILES}
    link_files(context.attempt.artifacts, files, folder)
    if positions is None:
        codes = [SPLITS.index(split) for split in splits]
        positions = np.flatnonzero(np.isin(np.load(folder / "split.npy", allow_pickle=False), codes))
    digests = folder / OWN_FILES[0]
    return _Rows(
        dataset,
        np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)[positions],
        np.load(digests, mmap_mode="r", allow_pickle=False)[positions] if digests.exists() else None,
    )


def _known(measured: _Rows, learned: _Rows) -> Bools:
    """Which measured rows are among the learned ones, (n,)."""
    if measured.dataset.source_sha256 == learned.dataset.source_sha256:
        return np.isin(measured.numbers, learned.numbers)
    nothing = np.zeros(len(measured.numbers), dtype=np.bool_)
    if measured.digests is None or learned.digests is None or not len(learned.digests):
        return nothing
    known: Bools = find_rows(measured.digests, learned.digests) >= 0
    repeated = 1 - len(np.unique(group_ids(np.asarray(learned.digests)))) / len(learned.digests)
    # As often as train repeats its own rows, a new row may equal one of them by chance.
    return known if known.mean() > _MIN_SHARE + 2 * repeated else nothing
