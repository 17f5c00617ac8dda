"""What a pretraining and a fine-tuning have in common as jobs: from their rows in SQL to a registered model."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from app import failpoints
from app.datasets.access import rows_digest
from app.estimates import repository as estimates
from app.jobs import lease as leases
from app.jobs.kinds import learning_config
from app.ml.fitting.evaluation import Evaluation
from app.ml.fitting.feature_cache import FeatureCache
from app.ml.kinds.strategies import ResolvedStrategy
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.models.bundle import Bundle, read_manifest
from app.ml.spec import WarningItem
from app.models import service as models
from worker.attempt.attempt import Attempt
from worker.attempt.checkpoints import Checkpoints
from worker.attempt.context import JobContext
from worker.attempt.divergence import DivergedError
from worker.attempt.drain import DrainedError
from worker.attempt.gang import Gang, gather
from worker.attempt.job_inputs import device_for, open_auxiliary, open_data, open_model
from worker.attempt.reporter import Reporter, progress_of
from worker.distributed.leader import distributed
from worker.distributed.sharding_choice import settle_sharding
from worker.jobs.climbing import ascent_of, baseline_of
from worker.jobs.trial import RunningTrial, trial_of
from worker.training.cross_fitting import cross_fit
from worker.training.events import Evaluated, Finished, Note, Started, StepDone
from worker.training.model_selection.automatic import prepare
from worker.training.precision import computes_in_bfloat16
from worker.training.refitting import refit
from worker.training.run import AnyRunConfig, Run
from worker.training.selected import Selected, selected_of

log = logging.getLogger(__name__)

_REPORT_SECONDS = 1.0
AfterTraining = Callable[[JobContext, Run, Bundle | None, Checkpoints], dict[str, Any]]


def train(context: JobContext, after_training: AfterTraining | None = None) -> None:
    """Train, evaluate, register. `after_training` returns further metrics of the job, before the test split is used."""
    attempt, job = context.attempt, context.job
    preparing = _Stopwatch()
    gang = gather(context)
    attempt.report(progress_of(0, 1, 0, None), [], "loading the data")
    parent = _parent(context)
    training = _prepare(context, parent, device_for(job, gang.device if gang else None))
    requested = job.config["resources"].get("sharding", "auto")  # jobs of before have none
    settled = settle_sharding(training, requested, job.devices * (gang.count if gang else 1))
    trial = trial_of(attempt, job)
    checkpoints = Checkpoints(attempt, training, context.folder, None if trial else training.plan.total_steps)
    step = checkpoints.resume()
    message = f"Training goes on from step {step}." if step else "Training started."
    device = training.state.device
    arithmetic = "bfloat16" if computes_in_bfloat16(training.config.training, device) else "float32"
    data = {**preparing.elapsed(), "step": step, "device": device.type, "precision": arithmetic}
    attempt.enter("running", "training", message, data)
    for note in (*training.notes, *([settled] if settled else [])):
        _record(attempt, note)
    watch = _Stopwatch()
    _train(context, training, trial, checkpoints, gang)
    if gang is not None:
        gang.part()
    seconds = watch.elapsed()["seconds"] if step == 0 and training.state.progress.went_through else None
    _cross_fit(context, training, parent)
    further_metrics = after_training(context, training, parent, checkpoints) if after_training else {}
    attempt.enter("finalizing", "evaluating", "Training has ended; measuring on the test split.")
    measured = training.evaluate("test") or training.evaluate("validation")
    checkpoints.refuse_unsound()
    if measured is not None and not all(map(math.isfinite, measured.losses.values())):
        raise DivergedError(training.state.progress.step, training.lr, training.state)
    if trial is None:
        training = _refit(context, training, parent)
        _register(context, training, measured, further_metrics, seconds)
    else:
        _offer(context, trial, training, measured)


def _prepare(context: JobContext, parent: Bundle | None, device: torch.device) -> Run:
    attempt, job, settings = context.attempt, context.job, context.settings
    dataset, data = open_data(context)
    config = learning_config(job.kind, job.config)
    keep = FeatureCache(settings.feature_cache, settings.feature_cache_bytes, rows_digest(dataset))
    auxiliary = open_auxiliary(context, config)
    selected, strategy = _selected(attempt, config)
    return prepare(
        config,
        data,
        device=device,
        parent=parent,
        selected=selected,
        strategy=strategy,
        cache=keep,
        auxiliary=auxiliary,
        most_seconds=settings.choosing_seconds,
        baseline=baseline_of(job),
    )


def _selected(attempt: Attempt, config: AnyRunConfig) -> tuple[Selected | None, StrategyConfig | None]:
    """What an earlier attempt selected; its checkpoints belong to that choice."""
    for row in attempt.checkpoints():
        if row.manifest.get("strategy") is not None:
            strategy = TypeAdapter[StrategyConfig](ResolvedStrategy).validate_python(row.manifest["strategy"])
            return selected_of(row.manifest.get("selected"), config, strategy), strategy
    return None, None


def _parent(context: JobContext) -> Bundle | None:
    model_id = context.job.parent_model_id
    if model_id is None:
        return None
    return open_model(context.attempt, model_id, context.folder / "parent", for_training=True)


@dataclass
class _Stopwatch:
    """Measures how long something takes, from when it is made."""

    wall: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)

    def elapsed(self) -> dict[str, float]:
        """Return the seconds since then, by the wall and of the processor."""
        return {"seconds": time.monotonic() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


def _train(
    context: JobContext, training: Run, trial: RunningTrial | None, checkpoints: Checkpoints, gang: Gang | None
) -> None:
    """Train to the end; where the loss diverges, again from the last sound state. A trial that diverges fails."""
    while True:
        try:
            with distributed(training, context.job.devices, context.folder, gang):
                _train_on(context, training, trial, checkpoints)
        except DivergedError as error:
            if trial is not None:
                raise
            checkpoints.go_back(error)
        else:
            return


def _train_on(context: JobContext, training: Run, trial: RunningTrial | None, checkpoints: Checkpoints) -> None:
    attempt = context.attempt
    reporter, watch = Reporter(attempt, training.state), _Stopwatch()
    for event in training.train():
        if isinstance(event, StepDone):
            failpoints.reach("training.step")
            reporter.step(event)
            if checkpoints.due(event.step):
                checkpoints.save()
            _stop_if_draining(context, event.step, reporter, checkpoints)
        elif isinstance(event, Started):
            reporter.start(event)
        elif isinstance(event, Evaluated):
            reporter.evaluated(event)
            if trial is not None:
                trial.evaluated(event, reporter)
            elif training.state.progress.stopped_early:
                checkpoints.save()  # the last step came early
        elif isinstance(event, Note | WarningItem):
            _record(attempt, event)
        elif isinstance(event, Finished):
            checkpoints.refuse_unsound()
            reporter.end(event)
            kept = "" if event.kept_step == event.step else f" The weights of step {event.kept_step} are kept."
            data = {**watch.elapsed(), "reason": event.reason, "step": event.step, "kept_step": event.kept_step}
            attempt.record_event("training.finished", f"Trained to step {event.step} ({event.reason}).{kept}", data)


def _cross_fit(context: JobContext, training: Run, parent: Bundle | None) -> None:
    """Calibrate on train rows where validation rows are too few, which trains again; another attempt begins anew."""
    reported = time.monotonic()
    for event in cross_fit(training, parent):
        context.stop_if_draining()
        if isinstance(event, Note):
            _record(context.attempt, event)
        elif time.monotonic() - reported >= _REPORT_SECONDS:
            reported = time.monotonic()
            progress = training.state.progress
            context.attempt.report(progress_of(progress.step, progress.step, progress.epoch, None), [], "calibrating")


def _refit(context: JobContext, measured: Run, parent: Bundle | None) -> Run:
    """Learn again from the labelled rows of all splits, where that is asked for; another attempt begins anew."""
    watch = _Stopwatch()
    refitted = refit(measured, parent, context.settings.choosing_seconds)
    if refitted is None:
        return measured
    for _ in refitted.train():
        context.stop_if_draining()
    before, rows = len(measured.examples("train")), len(refitted.examples("train"))
    assert refitted.selected is not None
    selected = refitted.selected.candidate
    message = f"Measured after learning from {before} rows; learned again from all {rows} labelled ones: {selected}."
    ladder = refitted.ladder()["ladder"] if refitted.selected is not measured.selected else None
    data = {**watch.elapsed(), "rows": rows, "rows_before": before, "selected": selected, "ladder": ladder}
    context.attempt.record_event("model.refitted", message, data)
    return refitted


def _record(attempt: Attempt, note: Note | WarningItem) -> None:
    if isinstance(note, WarningItem):
        attempt.warn([note])
    else:
        attempt.record_event(note.kind, note.message, note.data)


def _stop_if_draining(context: JobContext, step: int, reporter: Reporter, checkpoints: Checkpoints) -> None:
    """Report and save what was done before the worker lets go of the job."""
    if context.draining.is_set():
        reporter.finish(step)
        checkpoints.save()
        raise DrainedError


def _candidate(attempt: Attempt, training: Run, folder: Path, measured: Evaluation | None) -> dict[str, Any]:
    """Keep the model's files; return what it is registered from."""
    out = folder / "model"
    out.mkdir()
    training.save_bundle(out)
    manifest = read_manifest(out).model_dump(mode="json")
    metrics = {**(measured.as_json() if measured else {}), **training.tasks(), **training.ladder()}
    return {"kind": manifest["kind"], "manifest": manifest, "files": attempt.keep(out), "metrics": metrics}


def _register(
    context: JobContext,
    training: Run,
    measured: Evaluation | None,
    further_metrics: dict[str, Any],
    seconds: float | None,
) -> None:
    """Make the model visible together with the job's success; `further_metrics` are the job's and not the model's."""
    attempt, job, folder = context.attempt, context.job, context.folder
    candidate = _candidate(attempt, training, folder, measured)
    files = attempt.keep_curves(measured.curves(), folder / "curves") if measured else None
    metrics = {**candidate["metrics"], **further_metrics}
    ascent = ascent_of(job, training, folder / "model")

    def publish(session: Session) -> None:
        row = models.register(
            session,
            project_id=job.project_id,
            name=job.name or job.id,
            job_id=job.id,
            dataset_id=job.dataset_id,
            parent_id=job.parent_model_id if training.starts_from_model else None,
            **candidate,
        )
        of_climb = {} if ascent is None else ascent.end(session, job, row)
        leases.write(session, attempt.lease, metrics={**metrics, **of_climb}, files=files)
        if seconds is not None:  # else it did not train all steps at one go
            estimates.record_error(session, job, seconds)
        log.info("job %s: model %s, %s version %d", job.id, row.id, row.name, row.version)

    attempt.succeed("The model is registered.", publish)


def _offer(context: JobContext, trial: RunningTrial, training: Run, measured: Evaluation | None) -> None:
    """Leave the model to the sweep. A trial's metrics are of the validation split: no choice may use the test split."""
    attempt = context.attempt
    candidate = _candidate(attempt, training, context.folder, measured)
    compared = training.evaluate("validation")

    def publish(session: Session) -> None:
        leases.write(session, attempt.lease, metrics=trial.offer(session, candidate, compared))

    attempt.succeed("Measured; the sweep keeps the best trial's model.", publish)
