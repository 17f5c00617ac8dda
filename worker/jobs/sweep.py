"""A sweep as a job. It holds no worker while its trials run: each turn looks at them, adds the next ones, and parks.

A turn is one transaction and a pure function of what SQL holds: killed before its commit it never was, and the next
turn does the same; killed after it, everything is there. The last turn registers the best trial's model.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from app import events
from app.errors import GraftworkError
from app.jobs import lease as leases
from app.jobs import repository as jobs
from app.jobs import transitions
from app.jobs.attempts import Lease
from app.jobs.interface import JobColumns
from app.jobs.kinds.sweep import trial_request
from app.jobs.queueing import enqueue
from app.jobs.repository import JobRow
from app.jobs.transitions import JobError
from app.models import service as models
from app.queue import CeleryQueue, JobQueue, MemoryQueue
from app.sweeps import repository, table
from app.sweeps.config import SweepConfig
from app.sweeps.repository import TrialRecord
from worker.attempt.context import JobContext
from worker.jobs.sweep_study import next_values

_NAME_CHARACTERS = 180
_MAX_A_TURN = 32  # of trials that are refused at once there may be many, and a transaction is to be short


def run(context: JobContext) -> None:
    """Take one turn; the last one ends the sweep."""
    attempt, settings = context.attempt, context.settings
    config = SweepConfig.model_validate(context.job.config)
    # This turn's own worker goes on to the next trial unasked; others are rung for.
    alone = config.parallel == 1 or not settings.broker
    queue = MemoryQueue() if alone else CeleryQueue(settings.broker)
    trials = attempt.commit_with_retry(partial(_turn, attempt.lease, config, queue))
    if trials is None:
        return
    first = table.best(trials, maximize=config.maximize)
    if first is None:
        attempt.fail(_all_failed(trials))
        return
    attempt.enter("running", "choosing", f"All {len(trials)} trials have ended.")
    attempt.enter("finalizing", "registering", f"Trial {first.number} is the best; its model is kept.")
    attempt.succeed("The best model is registered.", partial(_publish, attempt.lease, config, first))


def _turn(lease: Lease, config: SweepConfig, queue: JobQueue, session: Session) -> list[TrialRecord] | None:
    """Add trials as far as there may be more, and park; return all of them once every one has ended."""
    leases.hold(session, lease)
    sweep = jobs.get(session, lease.job_id)
    trials = repository.trials(session, sweep.id)
    for _ in range(_MAX_A_TURN):
        if len(trials) == config.trials or _unfinished(trials) >= config.parallel:
            break
        _add(session, queue, sweep, config, trials)
        trials = repository.trials(session, sweep.id)
    leases.write(session, lease, metrics=table.table(config, trials), progress=_progress(config, trials))
    more = len(trials) < config.trials
    if not more and not _unfinished(trials):
        return trials
    leases.park(session, lease, config.parallel - 1 if more else 0, phase="waiting for trials")
    return None


def _unfinished(trials: list[TrialRecord]) -> int:
    return sum(not trial.ended for trial in trials)


def _progress(config: SweepConfig, trials: list[TrialRecord]) -> dict[str, Any]:
    ended = len(trials) - _unfinished(trials)
    steps = {"step": ended, "total_steps": config.trials, "epoch": 0, "eta_seconds": None}
    return {"fraction": ended / config.trials, **steps}


def _add(session: Session, queue: JobQueue, sweep: JobRow, config: SweepConfig, trials: list[TrialRecord]) -> None:
    """Queue the next trial. Values that together make no valid request are a trial that has failed."""
    number = len(trials)
    values = next_values(config, trials, number)
    refused: GraftworkError | None = None
    try:
        columns = trial_request(config.base, values).resolve(session, sweep.project_id)
    except GraftworkError as error:
        refused = error
        columns = JobColumns(kind=config.base["kind"], config={}, dataset_id=sweep.dataset_id)
    name = f"{(sweep.name or sweep.id)[:_NAME_CHARACTERS]}-trial-{number}"
    columns = replace(columns, name=name, sweep_id=sweep.id, priority=sweep.priority)
    job = enqueue(session, queue, sweep.project_id, columns)
    repository.add(session, sweep.id, job.id, number, values)
    if refused is not None:
        transitions.refuse(session, job.id, JobError(code=refused.code, category="user", message=refused.detail))
    data = {"trial": number, "job": job.id, "values": values}
    events.append(session, sweep.id, "sweep.trial", f"Trial {number} is queued.", data)


def _all_failed(trials: list[TrialRecord]) -> JobError:
    reasons = sorted({trial.error["message"] for trial in trials if trial.error})
    why = f" {reasons[0]}" if reasons else ""
    more = f" (and {len(reasons) - 1} other reasons: see the trials)" if len(reasons) > 1 else ""
    cancelled = sum(trial.status == "cancelled" for trial in trials)
    also = f" {cancelled} were cancelled." if cancelled else ""
    message = f"None of the {len(trials)} trials succeeded.{also}{why}{more}"
    return JobError(code="no_trial_succeeded", category="user", message=message)


def _publish(lease: Lease, config: SweepConfig, first: TrialRecord, session: Session) -> None:
    """Register what the best trial made as the sweep's own; only now is it measured on the test split in public."""
    sweep = jobs.get(session, lease.job_id)
    chosen = repository.of_job(session, first.job_id)
    trial = jobs.get(session, first.job_id)
    assert chosen.candidate is not None
    models.register(
        session,
        project_id=sweep.project_id,
        name=sweep.name or sweep.id,
        job_id=sweep.id,
        dataset_id=sweep.dataset_id,
        parent_id=trial.parent_model_id,
        **chosen.candidate,
    )
    repository.forget_candidates(session, sweep.id)
    metrics = table.table(config, repository.trials(session, sweep.id))
    leases.write(session, lease, metrics={**metrics, "measured": chosen.candidate["metrics"]})
