"""Tables: scikit-learn's bundled ones, and those of the R packages mlbench and kernlab, which Debian packages."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from bench.simple.files import csv_file
from bench.simple.packages import debian, importable
from bench.simple.sets import Count, Set, Source

CLASSES = (Count(per_class=10), Count())
REGRESSIONS = (Count(rows=100), Count())
BUNDLED = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}
IN_R = {  # the package of each set, and its target
    "Vehicle": ("mlbench", "Class"),
    "Vowel": ("mlbench", "Class"),
    "Glass": ("mlbench", "Type"),
    "Sonar": ("mlbench", "Class"),
    "Ionosphere": ("mlbench", "Class"),
    "DNA": ("mlbench", "Class"),
    "PimaIndiansDiabetes": ("mlbench", "diabetes"),
    "spam": ("kernlab", "type"),
    "income": ("kernlab", "INCOME"),
    "BostonHousing": ("mlbench", "medv"),
    "Ozone": ("mlbench", "V4"),
    "Servo": ("mlbench", "Class"),
}


def sources() -> dict[str, Source]:
    """Return what reads each table."""
    return {
        **{name: partial(_bundled, name) for name in BUNDLED},
        **{name: partial(_of_r, name) for name in IN_R},
    }


def table(name: str, frame: pd.DataFrame, target: str) -> Set:
    """Return a set of a frame: rows without a target are left out, levels that are whole numbers are numbers."""
    frame = frame.dropna(subset=[target]).reset_index(drop=True)
    y = frame.pop(target)
    number = pd.api.types.is_float_dtype(y)
    values = y.to_numpy(float) if number else y.astype(str).to_numpy(str)
    counts = REGRESSIONS if number else CLASSES
    return Set(name, "table", frame.apply(_plain), values, counts, csv_file, target)


def _bundled(name: str, _data: Path, _cache: Path) -> Set:
    bunch: Any = BUNDLED[name](as_frame=True)
    frame = bunch.frame
    if name == "diabetes":
        return table(name, frame, "target")
    return table(name, frame.assign(target=np.array(bunch.target_names).astype(str)[frame["target"]]), "target")


def _of_r(name: str, _data: Path, cache: Path) -> Set:
    package, target = IN_R[name]
    importable(cache, "pyreadr")
    import pyreadr  # noqa: PLC0415 - installed just now

    folder = debian(cache, f"r-cran-{package}") / "usr/lib/R/site-library" / package / "data"
    return table(name, pyreadr.read_r(folder / f"{name}.rda")[name], target)


def _plain(column: pd.Series) -> pd.Series:
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    try:
        return column.astype(str).astype(int)
    except ValueError:
        return column.astype(object).where(column.notna(), None)
