"""Sets of labelled rows, and the draws of them that are learned from and asked about.

Where a set has a test part of its own it is kept, at most 2,000 rows of it; else each draw leaves out another third.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sources import Array, few

MAX_TEST_ROWS = 2000
MAX_ROWS = 2000  # that are learned from, where a draw is of all rows
Modality = Literal["table", "series", "text", "image"]
Upload = tuple[bytes, str, dict[str, Any]]  # content, name and the options of an upload that it cannot do without


@dataclass(frozen=True)
class Count:
    """How many labels a draw has: so many of each class, so many rows, or all."""

    per_class: int | None = None
    rows: int | None = None

    def __str__(self) -> str:
        if self.per_class is not None:
            return f"{self.per_class} a class"
        return f"{self.rows} rows" if self.rows is not None else "all"


@dataclass(frozen=True)
class Set:
    """Rows with what is to be predicted of them, and how people have them in a file.

    A table's rows are a DataFrame, images an array (N, H, W) or (N, H, W, C), series a list of arrays (T, C), texts a
    list of str.
    """

    name: str
    modality: Modality
    rows: Any
    y: Array
    counts: tuple[Count, ...]
    file: "FileFormat"
    target: str = "label"
    test: Array | None = None  # positions of its own test part

    @property
    def regression(self) -> bool:
        """Whether numbers are to be predicted."""
        return self.y.dtype.kind == "f"


FileFormat = Callable[[Set, Array], Upload]  # of the rows at these positions


@dataclass(frozen=True)
class Draw:
    """Rows with labels to learn from, and rows to predict; only the scorer reads `truth`."""

    set: Set
    labels: str
    number: int
    train: Array
    test: Array
    truth: Array

    @property
    def key(self) -> str:
        """Names the draw."""
        return f"{self.set.name} / {self.labels} / {self.number}"

    @property
    def rows_digest(self) -> str:
        """Tells whether a cached result is of these very rows."""
        digest = hashlib.sha256()
        for part in (self.train, self.test, self.set.y[self.train].astype(str)):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def permuted(self) -> "Draw":
        """Return the same draw with permuted test labels."""
        return replace(self, truth=np.random.default_rng(0).permutation(self.truth))


Source = Callable[[Path, Path], Set]  # of the folder of public data and of the cache


def draws(data: Set, numbers: Sequence[int]) -> list[Draw]:
    """Return the draws of every count; of equal ones, such as all rows of a set with its own test part, the first."""
    drawn = [_draw(data, count, number) for count in data.counts for number in numbers]
    first = {(draw.labels, draw.rows_digest): draw for draw in reversed(drawn)}
    return [draw for draw in drawn if first[draw.labels, draw.rows_digest] is draw]


def take(rows: Any, positions: Array) -> Any:
    """Return the rows at these positions."""
    if isinstance(rows, pd.DataFrame):
        return rows.iloc[positions]
    return rows[positions] if isinstance(rows, np.ndarray) else [rows[position] for position in positions]


def _draw(data: Set, count: Count, number: int) -> Draw:
    pool, test = _parts(data, number)
    if count.per_class is not None:
        train = pool[few(data.y[pool], count.per_class, number)]
    else:
        random = np.random.default_rng([number, 1])
        train = np.sort(random.permutation(pool)[: count.rows or MAX_ROWS])
    return Draw(data, str(count), number, train, test, data.y[test])


def _parts(data: Set, number: int) -> tuple[Array, Array]:
    """Return the positions that may be learned from, and those to predict."""
    if data.test is None:
        order = np.random.default_rng([number, 2]).permutation(len(data.y))
        third = len(data.y) // 3
        return np.sort(order[third:]), np.sort(order[:third][:MAX_TEST_ROWS])
    pool = np.setdiff1d(np.arange(len(data.y)), data.test)
    return pool, np.sort(np.random.default_rng(0).permutation(data.test)[:MAX_TEST_ROWS])
