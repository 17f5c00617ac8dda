"""Successive halving against optuna's pruner, which decides by the same paper."""

import math

import numpy as np
import optuna
import pytest
from optuna.pruners import SuccessiveHalvingPruner

from app.sweeps.halving import goes_on
from app.sweeps.space import SuccessiveHalving

optuna.logging.set_verbosity(optuna.logging.ERROR)


def ours(curves: np.ndarray, algorithm: SuccessiveHalving, *, maximize: bool) -> list[int]:
    """How many epochs each of the trials gets, one after the other."""
    rungs: list[list[float]] = []
    lengths = []
    for curve in curves:
        mine: list[float] = []
        for epoch, value in enumerate(curve, start=1):
            alive = True
            while alive and epoch >= algorithm.rung_epoch(len(mine)):
                others = [other[len(mine)] for other in rungs if len(other) > len(mine)]
                mine.append(float(value))
                alive = goes_on(float(value), others, algorithm.reduction_factor, maximize=maximize)
            if not alive:
                break
        rungs.append(mine)
        lengths.append(epoch)
    return lengths


def optunas(curves: np.ndarray, algorithm: SuccessiveHalving, *, maximize: bool) -> list[int]:
    pruner = SuccessiveHalvingPruner(
        min_resource=algorithm.min_epochs, reduction_factor=algorithm.reduction_factor, min_early_stopping_rate=0
    )
    study = optuna.create_study(direction="maximize" if maximize else "minimize", pruner=pruner)
    lengths = []
    for curve in curves:
        trial = study.ask()
        for epoch, value in enumerate(curve, start=1):
            trial.report(float(value), epoch)
            if trial.should_prune():
                break
        lengths.append(epoch)
        study.tell(trial, float(value))
    return lengths


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize(("min_epochs", "factor"), [(1, 2), (1, 3), (2, 4), (3, 2)])
def test_the_same_trials_are_pruned_as_by_optuna(min_epochs: int, factor: int, *, maximize: bool) -> None:
    algorithm = SuccessiveHalving(min_epochs=min_epochs, reduction_factor=factor)
    rng = np.random.default_rng(factor)
    curves = rng.normal(size=(40, 1)) + rng.normal(size=(40, 30)) / 3
    curves[5:8] = curves[5]  # equals
    found = ours(curves, algorithm, maximize=maximize)
    assert found == optunas(curves, algorithm, maximize=maximize)
    assert min(found) == min_epochs
    assert max(found) == 30


def test_the_first_goes_on_and_equals_do() -> None:
    assert goes_on(0.1, [], 3, maximize=True)
    assert goes_on(0.1, [0.1, 0.1], 3, maximize=True)
    assert not goes_on(0.1, [0.2], 3, maximize=True)
    assert goes_on(0.1, [0.2], 3, maximize=False)
    assert not goes_on(math.inf, [0.2], 3, maximize=False)
