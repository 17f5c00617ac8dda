"""Data as it comes, and what a report says of a step; for the tests of cleaning."""

import json
from typing import Any

import numpy as np
import sklearn.datasets

from app.datasets.report import StepReport
from app.ml.spec import SPLITS
from tests.support.digits import mnist_data

from .conftest import Outcome


def csv(columns: dict[str, Any]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"


def step(done: Outcome, kind: str) -> StepReport:
    (report,) = (item for item in done.report.cleaning if item.kind == kind)
    return report


def kinds(done: Outcome) -> list[str]:
    return [item.kind for item in done.report.cleaning]


def cancer() -> dict[str, Any]:
    bunch = sklearn.datasets.load_breast_cancer()
    names = [name.replace(" ", "_") for name in bunch.feature_names[:6]]
    values = dict(zip(names, bunch.data[:, :6].T.tolist(), strict=True))
    return values | {"label": [str(bunch.target_names[code]) for code in bunch.target]}


def texts(rows: list[str], labels: list[Any] | None = None) -> str:
    given = labels or [k % 2 for k in range(len(rows))]
    return "".join(
        json.dumps({"text": row, "label": f"c{label}"}) + "\n" for row, label in zip(rows, given, strict=True)
    )


def digits() -> tuple[Any, Any]:
    """500 digits, one of which is left out: it is nearly the same as another."""
    x, y = mnist_data()
    chosen = np.delete(np.arange(0, 5000, 10), 93)
    return np.append(x[chosen], x[5:6], axis=0).astype(np.uint8).reshape(-1, 28, 28), np.append(y[chosen], y[5])


def folders_of_texts(*folders: str, each: int = 3) -> dict[str, bytes]:
    """`each` different texts in every folder."""
    return {f"{folder}/{k}.txt": f"the {k}th text of {folder}".encode() for folder in folders for k in range(each)}


def classes(done: Outcome) -> tuple[str, ...]:
    return done.spec.targets[0].classes if done.spec.targets else ()


def split_sizes(done: Outcome) -> tuple[int, ...]:
    return tuple(done.spec.rows[split] for split in SPLITS)
