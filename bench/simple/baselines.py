"""The simple things: a few lines of scikit-learn each, on the very rows that the service gets."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifierCV, RidgeCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sources import Array

from bench.simple.kernels import RandomKernels
from bench.simple.sets import Draw, take

FOLDS = {"table": 5, "series": 5, "image": 3, "text": 3}
MAX_STEPS = 200
MAX_FEATURES_BOOSTED = 4_000  # times classes
PENALTIES = {  # of logistic regression: many columns take long where it is weak
    "table": np.logspace(-4, 3, 8),
    "series": np.logspace(-4, 3, 8),
    "image": np.logspace(-3, 1, 5),
    "text": np.logspace(0, 2, 3),
}
NEIGHBOUR, LINEAR, BOOSTING, FOREST = "1-NN", "logistic or ridge", "gradient boosting", "random forest"
KERNELS = "random kernels + ridge"
Model = Callable[[], Any]


@dataclass(frozen=True)
class Result:
    """What something predicts of a draw's test rows, and the CPU seconds that learning and predicting took."""

    answers: Array
    cpu_seconds: float


def baselines(draw: Draw) -> dict[str, Model]:
    """Return what makes each simple thing for a draw, before it is fitted."""
    kinds = _regressors() if draw.set.regression else _classifiers(draw)
    if draw.set.modality == "text" or _is_wide(draw):
        del kinds[BOOSTING]  # scikit-learn's takes no sparse rows, and on wide ones minutes
    if draw.set.modality == "text":
        return {name: lambda make=make: make_pipeline(_words(), make()) for name, make in kinds.items()}
    scaled = {NEIGHBOUR, LINEAR} if draw.set.modality != "image" else set()
    encoded = {
        name: lambda make=make, name=name: make_pipeline(_encoder(draw, scaled=name in scaled), make())
        for name, make in kinds.items()
    }
    if draw.set.modality == "series":
        ridge = RidgeClassifierCV(np.logspace(-3, 3, 10))
        encoded[KERNELS] = lambda: make_pipeline(RandomKernels(), StandardScaler(), ridge)
    return encoded


def run(draw: Draw, make: Model) -> Result:
    """Fit one, and predict the test rows."""
    rows = draw.set.rows
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        model = make().fit(take(rows, draw.train), draw.set.y[draw.train])
        answers = model.predict(take(rows, draw.test))
    return Result(answers, time.process_time() - began)


def _is_wide(draw: Draw) -> bool:
    """Whether there are so many numbers a row, and so many classes, that boosting would take minutes."""
    if draw.set.modality not in {"series", "image"}:
        return False
    numbers = max(row.size for row in draw.set.rows)
    return numbers * len(np.unique(draw.set.y)) > MAX_FEATURES_BOOSTED


def _classifiers(draw: Draw) -> dict[str, Model]:
    return {
        NEIGHBOUR: lambda: KNeighborsClassifier(1),
        LINEAR: lambda: _logistic(draw),
        BOOSTING: HistGradientBoostingClassifier,
        FOREST: lambda: RandomForestClassifier(random_state=0),
    }


def _regressors() -> dict[str, Model]:
    return {
        NEIGHBOUR: lambda: KNeighborsRegressor(1),
        LINEAR: lambda: RidgeCV(np.logspace(-3, 4, 15)),
        BOOSTING: HistGradientBoostingRegressor,
        FOREST: lambda: RandomForestRegressor(random_state=0),
    }


def _logistic(draw: Draw) -> Any:
    """Logistic regression, its penalty by cross-validation where every class has rows for it."""
    fewest, kind = _fewest(draw), draw.set.modality
    if fewest < 2:
        return LogisticRegression(max_iter=MAX_STEPS)
    return LogisticRegressionCV(Cs=PENALTIES[kind], cv=min(FOLDS[kind], fewest), max_iter=MAX_STEPS)


def _encoder(draw: Draw, *, scaled: bool) -> Any:
    """Categories one-hot, numbers imputed by the median, as they are or scaled."""
    steps = [
        *_flat(draw),
        SimpleImputer(strategy="median", keep_empty_features=True),
        *([StandardScaler()] if scaled else []),
    ]
    if draw.set.modality != "table":
        return make_pipeline(*steps)
    words = make_column_selector(dtype_include=["object", "string"])
    numbers = make_column_selector(dtype_include="number")
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((one_hot, words), (make_pipeline(*steps), numbers))


def _words() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)


def _flat(draw: Draw) -> list[Any]:
    """Return the step that makes rows of numbers of images and series."""
    if draw.set.modality == "image":
        return [FunctionTransformer(lambda rows: rows.reshape(len(rows), -1).astype(np.float32) / 255)]
    if draw.set.modality == "series":
        return [FunctionTransformer(padded, kw_args={"steps": max(map(len, draw.set.rows))})]
    return []


def padded(rows: list[Array], steps: int) -> Array:
    """Return series (T, C) of unequal lengths as (N, steps * C), with 0 behind their ends."""
    values = np.zeros((len(rows), steps, rows[0].shape[1]), np.float32)
    for place, row in zip(values, rows, strict=True):
        place[: len(row)] = row
    return values.reshape(len(rows), -1)


def _fewest(draw: Draw) -> int:
    """Return how many rows the smallest class has."""
    return int(np.unique(draw.set.y[draw.train], return_counts=True)[1].min())
