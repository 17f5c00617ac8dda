"""Measures how many numbers 90 % intervals hold: `python -m bench.coverage CACHE`.

Ten regressions, for each several draws of train, validation and test rows; by the strategies' defaults, with validation
rows, with too few of them and with none. Sets of the R package mlbench, as Debian packages it, are fetched into CACHE
once, with pyreadr, which reads them. Jobs do what is done here, and an API around it.
"""

import argparse
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, Split, TargetSpec
from worker.training.cross_fitting import cross_fit
from worker.training.run import Run, prepare

TRAIN, TEST = 120, 1000
VALIDATION = (40, 6, 0)
STRATEGIES = ("linear_probe", "full")
IN_R = {"BostonHousing": "medv", "Ozone": "V4", "Servo": "Class"}
Values = NDArray[np.float64]
Table = tuple[Values, Values, tuple[ColumnSpec, ...]]


def sets(cache: Path) -> Iterator[tuple[str, Table]]:
    """Yield names, inputs (N, D), numbers (N,) and columns of ten regressions."""
    x, y = datasets.load_diabetes(return_X_y=True)
    yield "diabetes", _numbers(x, y)
    for name, target in IN_R.items():
        yield name, _of_r(cache, name, target)
    random = np.random.default_rng(0)
    rows = 1500
    x, y = datasets.make_friedman1(rows, noise=1, random_state=0)
    yield "friedman1, normal noise", _numbers(x, y)
    x, y = datasets.make_friedman2(rows, random_state=0)
    yield "friedman2, lognormal factors", _numbers(x, y * random.lognormal(0, 0.5, rows))
    x, y = datasets.make_friedman3(rows, random_state=0)
    yield "friedman3, noise of Student's t (3)", _numbers(x, y + 0.2 * random.standard_t(3, rows))
    x = random.normal(size=(rows, 6))
    yield "noise that grows with x", _numbers(x, 3 * x[:, 0] + (0.2 + np.abs(x[:, 1])) * random.normal(size=rows))
    counts = random.poisson(np.exp(0.5 + 0.8 * x[:, 0] - 0.5 * x[:, 1]))
    yield "counts", _numbers(x, counts.astype(float))
    yield "lognormal", _numbers(x, np.exp(1 + x[:, 0] + 0.5 * x[:, 2] + 0.7 * random.normal(size=rows)))


def _numbers(x: Values, y: Values) -> Table:
    columns = tuple(ColumnSpec(name=f"x{place}", type="number") for place in range(x.shape[1]))
    return np.asarray(x, np.float64), np.asarray(y, np.float64), columns


def _of_r(cache: Path, name: str, target: str) -> Table:
    """A set of mlbench; rows without a target are left out, factors are categories."""
    frame = _read_r(cache, name).dropna(subset=[target])
    y = frame.pop(target).to_numpy(float)
    columns, values = [], []
    for column in frame.columns:
        if str(frame[column].dtype) == "category":
            names = tuple(map(str, frame[column].cat.categories))
            columns.append(ColumnSpec(name=column, type="category", categories=names))
            values.append(np.where(frame[column].cat.codes < 0, np.nan, frame[column].cat.codes))
        else:
            columns.append(ColumnSpec(name=column, type="number"))
            values.append(frame[column].to_numpy(float))
    return np.column_stack(values).astype(np.float64), y, tuple(columns)


def _read_r(cache: Path, name: str) -> Any:
    python, unpacked = cache / "python", cache / "mlbench"
    if not python.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", python, "pyreadr"]
        subprocess.run(pip, check=True)
    if not unpacked.exists():
        subprocess.run(["apt-get", "download", "r-cran-mlbench"], cwd=cache, check=True, stdout=sys.stderr)  # noqa: S607
        (package,) = cache.glob("r-cran-mlbench_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)  # noqa: S607
    if str(python) not in sys.path:
        sys.path.append(str(python))
    import pyreadr  # noqa: PLC0415 - installed just now

    return pyreadr.read_r(unpacked / f"usr/lib/R/site-library/mlbench/data/{name}.rda")[name]


def trained(table: Table, strategy: str, validation: int, draw: int) -> Run:
    """Train a regressor by a strategy's defaults on some rows, and calibrate it as a job does."""
    x, y, columns = table
    order = np.random.default_rng(draw).permutation(len(y))[: TRAIN + validation + TEST]
    split = np.full(len(order), SPLITS.index("test"), np.uint8)
    split[: TRAIN + validation] = SPLITS.index("validation")
    split[:TRAIN] = SPLITS.index("train")
    rows: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    spec = DataSpec(
        modality="table",
        shape=(len(columns),),
        columns=columns,
        targets=(TargetSpec(name="y", type="number"),),
        rows=rows,
        labelled={"y": rows},
    )
    data = ArrayData(spec, x[order], y[order, None], split)
    request: dict[str, Any] = {"heads": [{"kind": "regressor", "target": "y"}], "strategy": {"kind": strategy}}
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), spec, None).config, data)
    for events in (run.train(), cross_fit(run, None)):
        for _ in events:
            pass
    return run


def measured(table: Table, strategy: str, validation: int, draws: int) -> float:
    """Return the percentage of test rows whose number lies in its interval, over all draws."""
    shares = []
    for draw in range(draws):
        evaluation = trained(table, strategy, validation, draw).evaluate("test")
        assert evaluation is not None
        shares.append(evaluation.heads["y"]["coverage"])
    return 100 * float(np.mean(shares))


def main() -> None:
    """Print a table of the coverage on each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cases = [(strategy, validation) for strategy in STRATEGIES for validation in VALIDATION]
    print("| set |", " | ".join(f"{strategy}, {validation}" for strategy, validation in cases), "|")
    print("|---" * (1 + len(cases)), end="|\n")
    for name, table in sets(options.cache):
        shares = [f"{measured(table, *case, options.draws):.1f}" for case in cases]
        print(f"| {name} |", " | ".join(shares), "|", flush=True)


if __name__ == "__main__":
    main()
