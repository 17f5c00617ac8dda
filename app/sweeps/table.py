"""The result of a sweep as JSON: its trials ranked, the best first."""

from collections.abc import Sequence
from typing import Any

from app.sweeps.config import SweepConfig
from app.sweeps.repository import TrialRecord


def ranked(trials: Sequence[TrialRecord], *, maximize: bool) -> list[TrialRecord]:
    """Order by metric: those that came to their end, those that were pruned, and the others; equals by number."""

    def place(trial: TrialRecord) -> tuple[int, float, int]:
        measured = trial.metric if trial.metric is not None else 0.0
        group = 0 if trial.status == "succeeded" else 1 if trial.pruned else 2
        return group, -measured if maximize else measured, trial.number

    return sorted(trials, key=place)


def best(trials: Sequence[TrialRecord], *, maximize: bool) -> TrialRecord | None:
    """Return the best trial that came to its end."""
    return next((trial for trial in ranked(trials, maximize=maximize) if trial.status == "succeeded"), None)


def table(config: SweepConfig, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return a sweep's metrics."""
    first = best(trials, maximize=config.maximize)
    return {
        "metric": config.metric,
        "direction": config.direction,
        "best": first and _line(first),
        "trials": [_line(trial) for trial in ranked(trials, maximize=config.maximize)],
    }


def _line(trial: TrialRecord) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "job": trial.job_id,
        "values": trial.values,
        "metric": trial.metric,
        "status": trial.status,
        "pruned": trial.pruned,
        "error": trial.error and trial.error["message"],
    }
