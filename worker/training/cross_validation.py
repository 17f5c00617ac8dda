"""Datasets whose labelled train rows are divided anew, into rows to train on and rows that are held out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Rows
from app.ml.solvers.folds import stratified
from app.ml.spec import SPLITS, Split

_NO_SPLIT = 255  # the code of rows that belong to no split


def assign_folds(data: ArrayData, labels: Sequence[str], rows: Rows, count: int) -> NDArray[np.int64]:
    """A fold number (n,) for each of the rows (n,), stratified by the first category among the targets."""
    for target in data.spec.targets:
        if target.name in labels and target.type == "category":
            classes = data.labels(target.name, rows) + 1  # rows without a label (-1) are a class too
            folds: NDArray[Any] = stratified(classes, count).numpy()
            return folds
    return np.arange(len(rows)) % count  # without classes: in turn, in the order of the rows


def with_validation_rows(data: ArrayData, rows: Rows, held_out: Rows) -> ArrayData:
    """The same data with the rows (n,) as its train split, but those of the mask (n,) as its validation split."""
    split = np.full_like(data.split, _NO_SPLIT)
    split[rows] = SPLITS.index("train")
    split[rows[held_out]] = SPLITS.index("validation")
    return replace(data, split=split)


def with_all_rows_in_train(data: ArrayData) -> ArrayData:
    """The same data without other splits than train."""
    return replace(data, split=np.full_like(data.split, SPLITS.index("train")))


def with_rows(data: ArrayData, split: Split, rows: Rows) -> ArrayData:
    """The same data whose split holds only the rows (n,)."""
    code = SPLITS.index(split)
    splits = np.where(data.split == code, _NO_SPLIT, data.split).astype(data.split.dtype)
    splits[rows] = code
    return replace(data, split=splits)
