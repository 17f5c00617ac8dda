"""LogME against the evidence computed as the density of a Gaussian, and maximised by another method."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.datasets import load_diabetes, load_iris

from worker.training.backbone_ranking.logme import indicators, logme, standardised


def density(features: Any, target: Any, logs: Any) -> float:
    """log p(y) / n where y = F w + noise: a Gaussian of covariance F F' / alpha + I / beta."""
    alpha, beta = np.exp(logs)
    covariance = features @ features.T / alpha + np.eye(len(target)) / beta
    return float(multivariate_normal(np.zeros(len(target)), covariance).logpdf(target)) / len(target)


def maximal(features: Any, target: Any) -> float:
    starts = [(0.0, 0.0), (-3.0, 3.0), (3.0, -1.0)]
    optima = [minimize(lambda logs: -density(features, target, logs), start, method="Nelder-Mead") for start in starts]
    return float(-min(optimum.fun for optimum in optima))


@pytest.mark.parametrize("shape", [(40, 5), (20, 30)], ids=["more rows", "more features"])
def test_it_is_the_largest_density(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=shape)
    targets = features[:, :2] @ random.normal(size=(2, 2)) + random.normal(size=(shape[0], 2))
    expected = np.mean([maximal(features, targets[:, k]) for k in range(2)])
    assert logme(torch.tensor(features), torch.tensor(targets)) == pytest.approx(expected, abs=1e-4)


def test_of_real_classes_and_numbers_too() -> None:
    inputs, classes = load_iris(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(inputs))[:50]
    inputs, classes = inputs[rows], classes[rows]
    table = indicators(torch.tensor(classes), 4)
    assert table.shape == (50, 3), "a class that no row has tells nothing"
    expected = np.mean([maximal(inputs, classes == k) for k in range(3)])
    assert logme(torch.tensor(inputs), table) == pytest.approx(expected, abs=1e-4)
    inputs, numbers = (part[:50] for part in load_diabetes(return_X_y=True))
    number = standardised(torch.tensor(numbers))
    assert logme(torch.tensor(inputs), number) == pytest.approx(maximal(inputs, number[:, 0].numpy()), abs=1e-4)


def test_better_features_have_more_of_it_and_their_scale_does_not_matter() -> None:
    inputs, classes = load_iris(return_X_y=True)
    table, features = indicators(torch.tensor(classes), 3), torch.tensor(inputs)
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert logme(features, table) > logme(features + noise, table) > logme(noise, table)
    assert logme(1000 * features, table) == pytest.approx(logme(features, table), abs=1e-4)


@pytest.mark.parametrize("features", [torch.zeros(12, 3), torch.eye(12)], ids=["nothing", "everything"])
def test_features_that_say_nothing_or_all_give_a_number(features: torch.Tensor) -> None:
    assert np.isfinite(logme(features, indicators(torch.arange(12) % 2, 2)))
    assert np.isfinite(logme(features, standardised(torch.zeros(12))))
