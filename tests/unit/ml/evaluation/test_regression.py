"""Metrics of regressors and of language models against scikit-learn and by hand."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from app.ml.evaluation.language_model import TokenSums
from app.ml.evaluation.regression import Regression


def test_regression_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = 1e6 + random.normal(size=70)
    values, weights = truth + random.normal(size=70), random.integers(0, 4, 70).astype(float)
    found = {name: each[0] for name, each in Regression(values, truth).measure(weights[None]).items()}
    options = {"sample_weight": weights}
    assert found == pytest.approx(
        {
            "mae": reference.mean_absolute_error(truth, values, **options),
            "rmse": reference.root_mean_squared_error(truth, values, **options),
            "r2": reference.r2_score(truth, values, **options),
        }
    )


def test_regression_by_hand() -> None:
    found = Regression(np.array([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 3.0])).metrics()
    assert found == {"mae": 1.0, "rmse": pytest.approx(3**0.5), "r2": pytest.approx(1 - 9 / 2), "rows": 3}
    assert Regression(np.array([1.0, 2.0]), np.array([0.1, 0.1])).metrics()["r2"] is None
    nothing = Regression(np.empty(0), np.empty(0)).metrics()
    assert nothing == {"mae": None, "rmse": None, "r2": None, "rows": 0}


def test_intervals_are_measured_by_what_they_hold_and_how_wide_they_are() -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    found = Regression(truth, truth, low=np.array([0.0, 1, 4, 4]), high=np.array([2.0, 5, 5, 4])).metrics()
    assert (found["coverage"], found["interval_width"]) == (0.75, 1.75)


def test_texts_are_measured_over_all_tokens() -> None:
    found = TokenSums(np.array([[2.0, 4, 1, 8], [6.0, 4, 3, 2]])).metrics()
    assert found == {
        "perplexity": pytest.approx(np.e),
        "token_accuracy": 0.5,
        "bits_per_character": pytest.approx(0.8 / np.log(2)),
        "tokens": 8,
        "rows": 2,
    }
    nothing = TokenSums(np.zeros((1, 4))).metrics()
    assert (nothing["perplexity"], nothing["tokens"]) == (None, 0)
    json.dumps(TokenSums(np.array([[1e9, 1, 0, 1]])).metrics(), allow_nan=False)
