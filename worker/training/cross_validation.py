"""Labelled rows divided into some to train on and some that are held out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.data.arrays import ArrayData
from app.ml.data.spec import SPLITS, Split
from app.ml.interfaces import Rows
from app.ml.solvers.folds import stratified

_OUTSIDE = 255  # a split that is none


def folds_of(data: ArrayData, labels: Sequence[str], rows: Rows, count: int) -> NDArray[np.int64]:
    """A fold (n,) for each of some rows (n,), stratified by the first category among the targets."""
    for target in data.spec.targets:
        if target.name in labels and target.type == "category":
            classes = data.labels(target.name, rows) + 1  # rows without a label are a class too
            found: NDArray[Any] = stratified(classes, count).numpy()
            return found
    return np.arange(len(rows)) % count


def with_held_out(data: ArrayData, rows: Rows, held: Rows) -> ArrayData:
    """The same data with some rows (n,) as its train split, but those of `held` (n,) as its validation split."""
    split = np.full_like(data.split, _OUTSIDE)
    split[rows] = SPLITS.index("train")
    split[rows[held]] = SPLITS.index("validation")
    return replace(data, split=split)


def only(data: ArrayData, split: Split, rows: Rows) -> ArrayData:
    """The same data with no other rows in a split than some (n,)."""
    code = SPLITS.index(split)
    splits = np.where(data.split == code, _OUTSIDE, data.split).astype(data.split.dtype)
    splits[rows] = code
    return replace(data, split=splits)
