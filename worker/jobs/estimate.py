"""An estimate as a job: some real steps of a training, timed and weighed. It makes no model."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from app.datasets.access import rows_digest
from app.estimates.schemas import Estimate, Measured
from app.jobs.kinds import learning_config
from app.ml.fitting.feature_cache import FeatureCache
from app.ml.kinds.strategies.base import StrategyConfig
from worker.attempt.context import JobContext
from worker.attempt.gang import Gang, gather
from worker.attempt.job_inputs import device_for, open_auxiliary, open_data, open_model
from worker.attempt.reporter import progress_of
from worker.distributed.leader import distributed
from worker.distributed.sharding_choice import settle_sharding
from worker.training import measured_cost
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run
from worker.training.selected import Selected

_BLOCKS = 10


def run(context: JobContext) -> None:
    """Measure the training as it is asked for, then larger batches of it."""
    attempt, folder = context.attempt, context.folder
    gang = gather(context)
    attempt.report(progress_of(0, 1, 0, None), [], "loading the data")
    work = _Work(context, gang)
    measured_cost.reset_peak_memory(work.device)
    training = work.prepared(None, None, None)
    attempt.enter("running", "measuring", "Measuring some steps.", {"device": work.device.type})
    steps = work.steps_of(training)
    costs = _costs(training, steps, folder)
    plan, selected, strategy = training.plan, training.selected, training.strategy
    peaks, sizes = {plan.batch_size: steps.peak_bytes}, measured_cost.batch_sizes(plan.batch_size, plan.rows)
    del training
    available = measured_cost.available_bytes(work.device)
    for size in [] if plan.solves else sizes[1:]:
        if 2 * max(peaks.values()) > measured_cost.SAFE_SHARE * available:
            break
        context.stop_if_draining()
        attempt.report(progress_of(len(peaks), len(sizes), 0, None), [], "measuring")
        measured_cost.reset_peak_memory(work.device)
        peaks[size] = work.steps_of(work.prepared(size, selected, strategy)).peak_bytes
    attempt.enter("finalizing", "measuring", "All is measured.")
    metrics = Estimate(
        **costs,
        device=work.device.type,
        peak_bytes=steps.peak_bytes,
        measured=[Measured(batch_size=size, peak_bytes=peak) for size, peak in peaks.items()],
        available_bytes=available,
        largest_batch=None if plan.solves else measured_cost.largest_batch(peaks, available, plan.rows),
    ).model_dump()

    attempt.succeed_with("Estimated.", metrics)


class _Work:
    """What is measured, to be prepared for any batch size."""

    def __init__(self, context: JobContext, gang: Gang | None) -> None:
        self._gang = gang
        attempt, job, folder, settings = context.attempt, context.job, context.folder, context.settings
        dataset, self.data = open_data(context)
        self.config = learning_config(job.config["estimates"], job.config)
        self._settings = settings
        self.device, self._devices, self._folder = device_for(job), job.devices, folder
        self._sharding = job.config["resources"].get("sharding", "auto")
        self.keep = FeatureCache(settings.feature_cache, settings.feature_cache_bytes, rows_digest(dataset))
        self.auxiliary = open_auxiliary(context, self.config)
        parent = job.parent_model_id
        self.parent = open_model(attempt, parent, folder / "parent", for_training=True) if parent else None

    def steps_of(self, training: Run) -> measured_cost.StepCosts:
        """Some of its steps, measured, on as many devices as the job asks for."""
        settle_sharding(training, self._sharding, self._devices * (self._gang.count if self._gang else 1))
        with distributed(training, self._devices, self._folder, self._gang):
            return measured_cost.measure_steps(training)

    def prepared(self, batch_size: int | None, selected: Selected | None, strategy: StrategyConfig | None) -> Run:
        """The training as the real job would prepare it, with another batch size where one is given."""
        config = self.config
        if batch_size is not None:
            config = _in_batches(config, batch_size)
            if selected is not None:
                selected = selected.model_copy(update={"config": _in_batches(selected.config, batch_size)})
        return prepare(
            config,
            self.data,
            device=self.device,
            parent=self.parent,
            selected=selected,
            strategy=strategy,
            cache=self.keep,
            auxiliary=self.auxiliary,
            most_seconds=self._settings.choosing_seconds,
        )


def _in_batches(config: Any, size: int) -> Any:
    """The config with another batch size."""
    return config.model_copy(update={"training": config.training.model_copy(update={"batch_size": size})})


def _costs(training: Run, steps: measured_cost.StepCosts, folder: Path) -> dict[str, float | int]:
    """What the steps, evaluations and files of a training cost."""
    plan, state, probe = training.plan, training.state, training.probe
    evaluation = measured_cost.seconds_of(lambda: training.evaluate("validation"))
    if probe is not None:
        evaluation += measured_cost.seconds_of(lambda: probe.evaluate(state))
    file, out = folder / "state.safetensors", folder / "model"
    checkpoint = measured_cost.seconds_of(lambda: state.save(file))
    out.mkdir()
    training.save_bundle(out)
    evaluations = _evaluations(training)

    def total(step: float) -> float:
        looped = step * plan.total_steps + evaluation * evaluations
        return looped + checkpoint * _checkpoints(training, looped)

    median = statistics.median(steps.seconds)
    blocks = [float(block.mean()) for block in np.array_split(steps.seconds, min(_BLOCKS, len(steps.seconds)))]
    return {
        "step_seconds": median,
        "timed_steps": len(steps.seconds),
        "total_steps": plan.total_steps,
        "seconds": total(statistics.mean(steps.seconds)),
        "low": total(min(blocks)),
        "high": total(max(blocks)),
        "evaluation_seconds": evaluation,
        "checkpoint_seconds": checkpoint,
        "checkpoint_bytes": file.stat().st_size,
        "model_bytes": sum(path.stat().st_size for path in out.iterdir()),
    }


def _evaluations(training: Run) -> int:
    plan = training.plan
    epochs = -(-plan.total_steps // plan.steps_per_epoch)
    ends = (min((epoch + 1) * plan.steps_per_epoch, plan.total_steps) for epoch in range(epochs))
    return sum(plan.evaluates(epoch, step) for epoch, step in enumerate(ends))


def _checkpoints(training: Run, seconds: float) -> int:
    config, plan = training.config.training, training.plan
    by_steps = plan.total_steps // config.checkpoint_steps if config.checkpoint_steps else 0
    return max(by_steps, int(seconds / config.checkpoint_seconds)) + 1
