"""What is tried next: a pure function of the seed, the number, and what the trials before have come to."""

import math
from typing import Any

import numpy as np
import pytest

from app.sweeps.config import SweepConfig
from app.sweeps.repository import TrialRecord
from worker.jobs.sweep_study import next_values

SPACE: dict[str, Any] = {
    "training.optimizer.lr": {"kind": "log_uniform", "low": 1e-5, "high": 1.0},
    "heads.0.dropout": {"kind": "uniform", "low": 0, "high": 0.5},
    "training.batch_size": {"kind": "integer", "low": 1, "high": 1024, "log": True},
    "backbone.hidden": {"kind": "choice", "values": [[8], [8, 8], None, True, 1, {"a": 1.5}]},
}


def config(algorithm: dict[str, Any], **fields: Any) -> SweepConfig:
    given = {"base": {}, "space": SPACE, "algorithm": algorithm, "trials": 50, "parallel": 1, "seed": 3}
    return SweepConfig.model_validate({**given, "metric": "val/loss", "direction": "minimize", **fields})


def searched(settings: SweepConfig, count: int) -> list[TrialRecord]:
    """Trials one after the other, whose metric is the distance of lr from 0.01 in powers of ten."""
    trials: list[TrialRecord] = []
    for number in range(count):
        values = next_values(settings, trials, number)
        metric = abs(math.log10(values["training.optimizer.lr"]) + 2)
        trials.append(TrialRecord(number, f"job_{number}", "succeeded", values, metric, False, [], None))  # noqa: FBT003
    return trials


def with_status(trial: TrialRecord, status: str, **fields: Any) -> TrialRecord:
    kept = {name: getattr(trial, name) for name in ("number", "job_id", "values", "rungs", "error")}
    return TrialRecord(**{**kept, "status": status, "metric": None, "pruned": False, **fields})


@pytest.mark.parametrize("algorithm", ["random", "tpe", "successive_halving"])
def test_the_same_question_has_the_same_answer(algorithm: str) -> None:
    settings = config({"kind": algorithm})
    trials = searched(settings, 14)
    assert searched(settings, 14) == trials
    again = SweepConfig.model_validate({**settings.model_dump(), "space": dict(reversed(SPACE.items()))})
    assert searched(again, 14) == trials  # databases keep keys in orders of their own
    assert searched(config({"kind": algorithm}, seed=4), 14) != trials


def test_values_lie_where_they_were_asked_for() -> None:
    trials = searched(config({"kind": "random"}), 300)
    lr = np.log10([trial.values["training.optimizer.lr"] for trial in trials])
    assert -5 <= lr.min() < -4.5
    assert -0.5 < lr.max() <= 0
    assert abs(lr.mean() + 2.5) < 0.3
    assert {type(trial.values["training.batch_size"]) for trial in trials} == {int}
    assert np.median([trial.values["training.batch_size"] for trial in trials]) < 100
    chosen = [trial.values["backbone.hidden"] for trial in trials]
    wanted = SPACE["backbone.hidden"]["values"]
    assert {repr(value) for value in chosen} == {repr(value) for value in wanted}


def test_tpe_learns_where_random_search_does_not() -> None:
    last = {}
    for algorithm in ({"kind": "tpe"}, {"kind": "random"}):
        trials = searched(config(algorithm), 50)
        last[algorithm["kind"]] = np.mean([trial.metric for trial in trials[-20:]])
    assert last["tpe"] < 0.7 * last["random"], last


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_trials_of_every_end_are_told(sampler: str) -> None:
    settings = config({"kind": "successive_halving", "sampler": sampler}, parallel=4)
    trials = searched(settings, 16)
    trials[2] = with_status(trials[2], "failed", error={"message": "diverged"})
    trials[3] = with_status(trials[3], "cancelled", pruned=True, metric=3.0, rungs=[3.5, 3.0])
    trials[4] = with_status(trials[4], "cancelled")
    trials[5] = with_status(trials[5], "running")
    values = next_values(settings, trials, 16)
    assert set(values) == set(SPACE)
