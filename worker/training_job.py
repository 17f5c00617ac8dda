"""A pretraining or a fine-tuning as a job: from its rows in SQL to a registered model."""

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from app import failpoints
from app.artifacts import file_sha256
from app.db.tables import CheckpointRow, JobRow
from app.errors import CorruptError
from app.estimates import service as estimates
from app.jobs import lease as leases
from app.jobs.plan import learning_config
from app.ml.bundle import Bundle, read_manifest
from app.ml.configs import FineTuningConfig
from app.ml.errors import CorruptCheckpointError
from app.ml.strategies import AnyStrategy
from app.ml.training import TrainingConfig
from app.models import service as models
from app.settings import Settings
from worker.attempt import Attempt
from worker.drain import DrainedError, Draining
from worker.feature_cache import FeatureCache
from worker.opening import device_for, open_beside, open_data, open_model, rows_digest
from worker.reporter import DivergedError, Reporter, progress_of
from worker.training.evaluate import Evaluation
from worker.training.events import Evaluated, Finished, Noted, Started, StepDone
from worker.training.precision import computes_in_bfloat16
from worker.training.run import Run, prepare
from worker.transfer import report_on
from worker.trial import Trial, trial_of

log = logging.getLogger(__name__)


def run(attempt: Attempt, job: JobRow, folder: Path, draining: Draining, settings: Settings) -> None:
    """Train, evaluate, register."""
    began = _Costs()
    attempt.report(progress_of(0, 1, 0, None), [], "loading the data")
    parent = _parent(attempt, job, folder)
    training = _prepare(attempt, job, folder, settings, parent)
    trial = trial_of(attempt, job)
    step = _resume(attempt, training)
    message = f"Training goes on from step {step}." if step else "Training started."
    device = training.state.device
    arithmetic = "bfloat16" if computes_in_bfloat16(training.config.training, device) else "float32"
    data = {**began.spent(), "step": step, "device": device.type, "precision": arithmetic}
    attempt.enter("running", "training", message, data)
    for note in training.notes:
        attempt.tell(note.kind, note.message, note.data)
    seconds = _train(attempt, training, trial, folder, draining)
    whole = step == 0 and not training.state.progress.stopped_early
    transfer = _transfer(attempt, training, parent, folder, draining)
    attempt.enter("finalizing", "evaluating", "Training has ended; measuring on the test split.")
    measured = training.evaluate("test") or training.evaluate("validation")
    _refuse_diverged(training, measured)
    if trial is None:
        _register(attempt, job, training, folder, measured, transfer, seconds if whole else None)
    else:
        _offer(attempt, trial, training, folder, measured)


def _prepare(attempt: Attempt, job: JobRow, folder: Path, settings: Settings, parent: Bundle | None) -> Run:
    dataset, data = open_data(attempt, job, folder / "data")
    config = learning_config(job.kind, job.config)
    device = device_for(job)
    keep = FeatureCache(settings.feature_cache, settings.feature_cache_bytes, rows_digest(dataset))
    beside = open_beside(attempt, config, folder / "beside")
    return prepare(config, data, device=device, parent=parent, strategy=_chosen(attempt), keep=keep, beside=beside)


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


def _resume(attempt: Attempt, training: Run) -> int:
    """Take up the newest intact checkpoint and return its step; 0 where there is none."""
    for row in attempt.checkpoints():
        try:
            training.state.load(_intact(attempt, row))
        except (CorruptCheckpointError, CorruptError) as error:
            attempt.drop_checkpoint(row, str(error))
        else:
            if row.job_id != attempt.lease.job_id:
                training.state.go_on()
            return row.step
    return 0


def _intact(attempt: Attempt, row: CheckpointRow) -> Path:
    path = attempt.artifacts.fetch(row.key)
    if file_sha256(path) != row.sha256:
        msg = "its bytes are not those that were written"
        raise CorruptCheckpointError(msg)
    return path


@dataclass
class _Costs:
    """What something costs, from now on."""

    wall: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)

    def spent(self) -> dict[str, float]:
        """Return the seconds since then, by the wall and of the processor."""
        return {"seconds": time.monotonic() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


@dataclass
class _Saves:
    """When checkpoints are due: by steps, by seconds, and at the last step, from where a job may be extended."""

    config: TrainingConfig
    last_step: int | None
    last: float = field(default_factory=time.monotonic)

    def due(self, step: int) -> bool:
        """Tell whether to save now."""
        every = self.config.checkpoint_steps
        silent = time.monotonic() - self.last >= self.config.checkpoint_seconds
        return silent or step == self.last_step or (every is not None and step % every == 0)


def _train(attempt: Attempt, training: Run, trial: Trial | None, folder: Path, draining: Draining) -> float:
    """Train to the end; return the seconds that it took from here."""
    reporter = Reporter(attempt)
    last = None if trial else training.plan.total_steps  # nobody goes on from a trial
    costs, saves = _Costs(), _Saves(training.config.training, last)
    for event in training.train():
        if isinstance(event, StepDone):
            failpoints.reach("training.step")
            reporter.step(event)
            if saves.due(event.step) or draining.is_set():
                _save(attempt, training, folder)
                saves.last = time.monotonic()
            _stop_where_asked(draining)
        elif isinstance(event, Started):
            reporter.start(event)
        elif isinstance(event, Evaluated):
            reporter.evaluated(event)
            if trial is not None:
                trial.evaluated(event, reporter)
            elif training.state.progress.stopped_early:
                _save(attempt, training, folder)  # the last step came early
        elif isinstance(event, Noted):
            attempt.tell(event.kind, event.message, event.data)
        elif isinstance(event, Finished):
            reporter.finish(event.step)
            data = {**costs.spent(), "reason": event.reason, "step": event.step}
            attempt.tell("training.finished", f"Trained to step {event.step} ({event.reason}).", data)
    return costs.spent()["seconds"]


def _stop_where_asked(draining: Draining) -> None:
    if draining.is_set():
        raise DrainedError


def _transfer(
    attempt: Attempt, training: Run, parent: Bundle | None, folder: Path, draining: Draining
) -> dict[str, Any] | None:
    """The transfer report, where one was asked for. What was trained is kept first: the controls may take long."""
    config = training.config
    if not isinstance(config, FineTuningConfig) or config.transfer_report is None or parent is None:
        return None
    _refuse_diverged(training, None)
    _save(attempt, training, folder)
    return report_on(attempt, training, parent, draining)


def _refuse_diverged(training: Run, measured: Evaluation | None) -> None:
    """The last step may be the one that went astray: what is no number, or answers none, is not registered."""
    state = training.state
    finite = all(
        tensor.isfinite().all() for tensor in state.objective.state_dict().values() if tensor.is_floating_point()
    )
    if not finite or (measured is not None and not all(map(math.isfinite, measured.losses.values()))):
        raise DivergedError(state.progress.step, training.plan.lr(max(state.progress.step - 1, 0)))


def _save(attempt: Attempt, training: Run, folder: Path) -> None:
    path = folder / "state.safetensors"
    training.state.save(path)
    progress = training.state.progress
    strategy = training.strategy.model_dump(mode="json") if training.strategy else None
    manifest = {"progress": progress.model_dump(), "strategy": strategy}
    attempt.save_checkpoint(path, progress.step, progress.epoch, manifest)
    path.unlink()


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
            estimates.compare(session, job, seconds)
        log.info("job %s: model %s, %s version %d", job.id, row.id, row.name, row.version)

    attempt.succeed("The model is registered.", publish)


def _offer(attempt: Attempt, trial: Trial, training: Run, folder: Path, measured: Evaluation | None) -> None:
    """Leave the model to the sweep. A trial tells of the validation split alone: no choice may look at the test."""
    candidate = _candidate(attempt, training, folder, measured)
    compared = training.evaluate("validation")

    def publish(session: Session) -> None:
        leases.write(session, attempt.lease, metrics=trial.offer(session, candidate, compared))

    attempt.succeed("Measured; the sweep keeps the best trial's model.", publish)
