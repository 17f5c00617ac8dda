"""A pretraining or a fine-tuning as a job: from its rows in SQL to a registered model."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from app import failpoints
from app.db.tables import JobRow
from app.estimates import record
from app.jobs import lease as leases
from app.jobs.plan import learning_config
from app.ml.configs.learning import FineTuningConfig
from app.ml.kinds.strategies import AnyStrategy
from app.ml.models.bundle import Bundle, read_manifest
from app.models import service as models
from app.settings import Settings
from worker.attempt.attempt import Attempt
from worker.attempt.checkpoints import Checkpoints
from worker.attempt.divergence import DivergedError
from worker.attempt.feature_cache import FeatureCache
from worker.attempt.job_inputs import device_for, open_beside, open_data, open_model, rows_digest
from worker.attempt.reporter import Reporter, progress_of
from worker.distributed.leader import distributed
from worker.jobs.transfer_report import report_on
from worker.jobs.trial import Trial, trial_of
from worker.process.drain import DrainedError, Draining
from worker.training.evaluation import Evaluation
from worker.training.events import Evaluated, Finished, Note, Started, StepDone
from worker.training.precision import computes_in_bfloat16
from worker.training.run import Run, prepare

log = logging.getLogger(__name__)


def run(attempt: Attempt, job: JobRow, folder: Path, draining: Draining, settings: Settings) -> None:
    """Train, evaluate, register."""
    began = _Costs()
    attempt.report(progress_of(0, 1, 0, None), [], "loading the data")
    parent = _parent(attempt, job, folder)
    training = _prepare(attempt, job, folder, settings, parent)
    trial = trial_of(attempt, job)
    checkpoints = Checkpoints(attempt, training, folder, None if trial else training.plan.total_steps)
    step = checkpoints.resume()
    message = f"Training goes on from step {step}." if step else "Training started."
    device = training.state.device
    arithmetic = "bfloat16" if computes_in_bfloat16(training.config.training, device) else "float32"
    data = {**began.spent(), "step": step, "device": device.type, "precision": arithmetic}
    attempt.enter("running", "training", message, data)
    for note in training.notes:
        attempt.tell(note.kind, note.message, note.data)
    costs = _Costs()
    _train(attempt, training, trial, checkpoints, draining, lambda: distributed(training, job.devices, folder))
    seconds = costs.spent()["seconds"] if step == 0 and training.state.progress.went_through else None
    transfer = _transfer(attempt, training, parent, checkpoints, draining)
    attempt.enter("finalizing", "evaluating", "Training has ended; measuring on the test split.")
    measured = training.evaluate("test") or training.evaluate("validation")
    checkpoints.refuse_unsound()
    if measured is not None and not all(map(math.isfinite, measured.losses.values())):
        raise DivergedError(training.state.progress.step, training.lr, training.state)
    if trial is None:
        _register(attempt, job, training, folder, measured, transfer, seconds)
    else:
        _offer(attempt, trial, training, folder, measured)


def _prepare(attempt: Attempt, job: JobRow, folder: Path, settings: Settings, parent: Bundle | None) -> Run:
    dataset, data = open_data(attempt, job, folder / "data")
    config = learning_config(job.kind, job.config)
    device = device_for(job)
    keep = FeatureCache(settings.feature_cache, settings.feature_cache_bytes, rows_digest(dataset))
    beside = open_beside(attempt, config, folder / "beside")
    return prepare(config, data, device=device, parent=parent, strategy=_chosen(attempt), cache=keep, auxiliary=beside)


def _chosen(attempt: Attempt) -> AnyStrategy | None:
    """What an earlier attempt chose; its checkpoints belong to that choice."""
    for row in attempt.checkpoints():
        if row.manifest.get("strategy") is not None:
            return TypeAdapter[AnyStrategy](AnyStrategy).validate_python(row.manifest["strategy"])
    return None


def _parent(attempt: Attempt, job: JobRow, folder: Path) -> Bundle | None:
    if job.parent_model_id is None:
        return None
    return open_model(attempt, job.parent_model_id, folder / "parent", for_training=True)


@dataclass
class _Costs:
    """What something costs, from now on."""

    wall: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)

    def spent(self) -> dict[str, float]:
        """Return the seconds since then, by the wall and of the processor."""
        return {"seconds": time.monotonic() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


def _train(
    attempt: Attempt,
    training: Run,
    trial: Trial | None,
    checkpoints: Checkpoints,
    draining: Draining,
    together: Callable[[], AbstractContextManager[None]],
) -> None:
    """Train to the end; where it goes astray, again from the last sound state. A trial tells how its own rate does.

    `together` has other devices, where there are some, take up the state as it is then.
    """
    while True:
        try:
            with together():
                _train_on(attempt, training, trial, checkpoints, draining)
        except DivergedError as error:
            if trial is not None:
                raise
            checkpoints.go_back(error)
        else:
            return


def _train_on(
    attempt: Attempt, training: Run, trial: Trial | None, checkpoints: Checkpoints, draining: Draining
) -> None:
    reporter, costs = Reporter(attempt, training.state), _Costs()
    for event in training.train():
        if isinstance(event, StepDone):
            failpoints.reach("training.step")
            reporter.step(event)
            if checkpoints.due(event.step):
                checkpoints.save()
            _stop_where_asked(event.step, draining, reporter, checkpoints)
        elif isinstance(event, Started):
            reporter.start(event)
        elif isinstance(event, Evaluated):
            reporter.evaluated(event)
            if trial is not None:
                trial.evaluated(event, reporter)
            elif training.state.progress.stopped_early:
                checkpoints.save()  # the last step came early
        elif isinstance(event, Note):
            attempt.tell(event.kind, event.message, event.data)
        elif isinstance(event, Finished):
            checkpoints.refuse_unsound()
            reporter.finish(event.step)
            data = {**costs.spent(), "reason": event.reason, "step": event.step}
            attempt.tell("training.finished", f"Trained to step {event.step} ({event.reason}).", data)


def _stop_where_asked(step: int, draining: Draining, reporter: Reporter, checkpoints: Checkpoints) -> None:
    if draining.is_set():
        reporter.finish(step)
        checkpoints.save()
        raise DrainedError


def _transfer(
    attempt: Attempt, training: Run, parent: Bundle | None, checkpoints: Checkpoints, draining: Draining
) -> dict[str, Any] | None:
    """The transfer report, where one was asked for. What was trained is kept first: the controls may take long."""
    config = training.config
    if not isinstance(config, FineTuningConfig) or config.transfer_report is None or parent is None:
        return None
    checkpoints.save()
    return report_on(attempt, training, parent, draining)


def _candidate(attempt: Attempt, training: Run, folder: Path, measured: Evaluation | None) -> dict[str, Any]:
    """Keep the model's files; return what it is registered from."""
    out = folder / "model"
    out.mkdir()
    training.save_bundle(out)
    manifest = read_manifest(out).model_dump(mode="json")
    metrics = {**(measured.as_json() if measured else {}), **training.tasks()}
    return {"kind": manifest["kind"], "manifest": manifest, "files": attempt.keep(out), "metrics": metrics}


def _register(
    attempt: Attempt,
    job: JobRow,
    training: Run,
    folder: Path,
    measured: Evaluation | None,
    transfer: dict[str, Any] | None,
    seconds: float | None,
) -> None:
    """Make the model visible together with the job's success. What pretraining is worth is the job's to tell."""
    candidate = _candidate(attempt, training, folder, measured)
    files = attempt.keep_curves(measured.curves(), folder / "curves") if measured else None
    metrics = candidate["metrics"] if transfer is None else {**candidate["metrics"], "transfer": transfer}

    def publish(session: Session) -> None:
        row = models.register(
            session,
            project_id=job.project_id,
            name=job.name or job.id,
            job_id=job.id,
            dataset_id=job.dataset_id,
            parent_id=job.parent_model_id,
            **candidate,
        )
        leases.write(session, attempt.lease, metrics=metrics, files=files)
        if seconds is not None:  # else it did not train all steps at one go
            record.compare(session, job, seconds)
        log.info("job %s: model %s, %s version %d", job.id, row.id, row.name, row.version)

    attempt.succeed("The model is registered.", publish)


def _offer(attempt: Attempt, trial: Trial, training: Run, folder: Path, measured: Evaluation | None) -> None:
    """Leave the model to the sweep. A trial tells of the validation split alone: no choice may look at the test."""
    candidate = _candidate(attempt, training, folder, measured)
    compared = training.evaluate("validation")

    def publish(session: Session) -> None:
        leases.write(session, attempt.lease, metrics=trial.offer(session, candidate, compared))

    attempt.succeed("Measured; the sweep keeps the best trial's model.", publish)
