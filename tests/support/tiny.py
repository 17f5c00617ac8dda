"""Tiny made-up datasets for proofs and first tries: a class decides a row's pattern, a number its strength."""

from collections.abc import Callable

import numpy as np

from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Rows
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, ModalityKind, Split, TargetSpec

CLASSES = ("circle", "cross", "bar")
LABEL = TargetSpec(name="label", type="category", classes=CLASSES)
SIZE = TargetSpec(name="size", type="number")
ROUND = TargetSpec(name="round", type="category", classes=("no", "yes"))
LARGE = TargetSpec(name="large", type="category", classes=("0", "1"))
_SIDE = 8
_COLOURS = ("red", "blue", "gray")
_THINGS = (("ring", "disc", "ball"), ("plus", "star"), ("line", "rod", "pole"))  # by class


def images(rows: int = 48, seed: int = 0) -> ArrayData:
    """Nearly black and white images 8 x 8 x 1: each class lights up its own third of the pixels."""
    random = np.random.default_rng(seed)
    codes, sizes = _targets(rows, random)
    owner = random.integers(0, len(CLASSES), (_SIDE, _SIDE))
    lit = owner[None] == codes[:, None, None]
    lit ^= random.random((rows, _SIDE, _SIDE)) < 0.05
    pixels = np.where(lit, 220 + 35 * sizes[:, None, None], 5)
    return _data("image", pixels.astype(np.uint8)[..., None], codes, sizes, ())


def table(rows: int = 48, seed: int = 0) -> ArrayData:
    """Four columns: two numbers, one with missing values, one category."""
    random = np.random.default_rng(seed)
    codes, sizes = _targets(rows, random)
    values = np.stack(
        [
            100 + 20 * codes + random.normal(size=rows),
            sizes + 0.1 * random.normal(size=rows),
            np.where(np.arange(rows) % 5 == 0, np.nan, codes - sizes),
            (codes + (random.random(rows) < 0.2)) % 2,
        ],
        axis=1,
    )
    columns = (
        ColumnSpec(name="width", type="number"),
        ColumnSpec(name="weight", type="number"),
        ColumnSpec(name="age", type="number"),
        ColumnSpec(name="colour", type="category", categories=("red", "blue")),
    )
    return _data("table", values.astype(np.float32), codes, sizes, columns)


def series(rows: int = 48, seed: int = 0) -> ArrayData:
    """Two channels over at most 12 steps: a class decides the frequency, a number the height; some are shorter."""
    random = np.random.default_rng(seed)
    codes, sizes = _targets(rows, random)
    steps = np.arange(12)
    waves = np.sin((codes[:, None] + 1) * steps / 2 + random.random((rows, 1)))
    values = np.stack(
        [waves * (1 + sizes[:, None]), 5 + codes[:, None] + 0.1 * random.normal(size=waves.shape)], axis=2
    )
    values[::4, 9:] = np.nan
    values[1::4, 3, 0] = np.nan
    columns = (ColumnSpec(name="left", type="number"), ColumnSpec(name="right", type="number"))
    return _data("series", values.astype(np.float32), codes, sizes, columns)


def texts(rows: int = 48, seed: int = 0) -> ArrayData:
    """A few words each: a class decides what is named, a number whether it is big."""
    random = np.random.default_rng(seed)
    codes, sizes = _targets(rows, random)
    inputs = np.empty(rows, dtype=object)
    inputs[:] = [
        f"a {random.choice(_COLOURS)} {'big' if size > 0.5 else 'tiny'} {random.choice(_THINGS[code])}"
        for code, size in zip(codes, sizes, strict=True)
    ]
    return _data("text", inputs, codes, sizes, (), shape=(max(map(len, inputs)),))


DATASETS: dict[ModalityKind, Callable[..., ArrayData]] = {
    "image": images,
    "table": table,
    "series": series,
    "text": texts,
}


def _targets(rows: int, random: np.random.Generator) -> tuple[Rows, Rows]:
    return np.arange(rows) % len(CLASSES), random.random(rows)


def _data(
    modality: ModalityKind,
    inputs: Rows,
    codes: Rows,
    sizes: Rows,
    columns: tuple[ColumnSpec, ...],
    shape: tuple[int, ...] | None = None,
) -> ArrayData:
    """Two thirds train, the rest validation and test."""
    split = np.array([0, 0, 0, 0, 1, 2], np.uint8)[np.arange(len(inputs)) // 3 % 6]
    counts: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    spec = DataSpec(
        modality=modality,
        shape=shape or inputs.shape[1:],
        columns=columns,
        targets=(LABEL, SIZE, ROUND, LARGE),
        rows=counts,
        labelled=dict.fromkeys(("label", "size", "round", "large"), counts),
    )
    targets = np.stack([codes, sizes, codes == 0, sizes > 0.5], axis=1)
    return ArrayData(spec, inputs, targets.astype(np.float64), split)
