"""Gauges of features against other computations of them."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from app.ml.learning.collapse_metrics import dead_units, effective_rank, probe_scores
from app.ml.solvers.ridge import leave_one_out, solve_ridge
from app.ml.spec import TargetSpec

IRIS = TargetSpec(name="species", type="category", classes=("setosa", "versicolor", "virginica"))
NUMBER = TargetSpec(name="progression", type="number")


def random(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_the_effective_rank_is_the_exponential_of_the_entropy_of_singular_values(shape: tuple[int, int]) -> None:
    values = random(*shape) @ torch.diag(torch.linspace(0.1, 3, shape[1]))
    sizes = np.linalg.svd((values - values.mean(0)).double().numpy(), compute_uv=False)
    assert effective_rank(values) == pytest.approx(math.exp(entropy(sizes[sizes > 1e-5])), rel=1e-4)


def test_the_effective_rank_counts_directions_of_equal_size() -> None:
    corners = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(corners) == pytest.approx(6)
    assert effective_rank(corners[:, :1] * torch.ones(1, 5) + 100) == pytest.approx(1)
    assert effective_rank(torch.full((9, 4), 0.1)) == 0
    assert effective_rank(torch.zeros(1, 3)) == 0


def test_dead_units_are_those_that_never_move() -> None:
    values = random(30, 8)
    values[:, 2], values[:, 5] = 0, 0.1
    values[1:, 6] = 7  # one row differs
    assert dead_units(values) == 2 / 8


def test_a_row_left_out_is_answered_by_a_fit_to_all_others() -> None:
    features, wanted = random(25, 60), random(25, 2).double()
    strength = solve_ridge(features, wanted).strength
    expected = cross_val_predict(Ridge(alpha=strength), features.double().numpy(), wanted.numpy(), cv=LeaveOneOut())
    assert leave_one_out(features, wanted).numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_probe_of_real_classes_and_numbers_scores_as_when_every_row_is_left_out() -> None:
    flowers, species = load_iris(return_X_y=True)
    score = float(probe_scores(torch.from_numpy(flowers).float(), torch.from_numpy(species), IRIS).mean())
    assert 0.8 < score < 0.9, "linear regression onto classes confuses some of the last two species"
    rows, progression = load_diabetes(return_X_y=True)
    found = float(probe_scores(torch.from_numpy(rows).float(), torch.from_numpy(progression), NUMBER).mean())
    answers = cross_val_predict(Ridge(alpha=1e-2), rows, progression, cv=LeaveOneOut())
    errors = ((answers - progression) ** 2).mean() / progression.var()
    assert found == pytest.approx(1 - errors, abs=0.01)


def test_where_there_is_nothing_to_tell_apart_there_is_no_score() -> None:
    assert probe_scores(random(5, 3), torch.ones(5, dtype=torch.int64), IRIS).isnan().all()
    assert probe_scores(random(1, 3), torch.ones(1), NUMBER).isnan().all()
