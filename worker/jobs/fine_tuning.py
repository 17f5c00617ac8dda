"""A fine-tuning as a job, with its transfer report where one was asked for."""

import time
from typing import Any

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.models.bundle import Bundle
from worker.attempt.checkpoints import Checkpoints
from worker.attempt.context import JobContext
from worker.attempt.reporter import progress_of
from worker.jobs.training import train
from worker.training.events import Note
from worker.training.run import Run
from worker.training.transfer_report.controlled_comparison import ControlledComparison

_REPORT_SECONDS = 1.0


def run(context: JobContext) -> None:
    """Train heads, find out what the pretrained weights are worth where that was asked for, and register the model."""
    train(context, _transfer_report)


def _transfer_report(
    context: JobContext, training: Run, parent: Bundle | None, checkpoints: Checkpoints
) -> dict[str, Any]:
    """Return the transfer report as the metric `transfer`, or nothing where none was asked for.

    The trained state is kept first: training the controls may take long, and another attempt trains them all again.
    """
    config = training.config
    if not isinstance(config, ResolvedFineTuning) or config.transfer_report is None or parent is None:
        return {}
    checkpoints.save()
    return {"transfer": _train_controls(context, training, parent)}


def _train_controls(context: JobContext, trained: Run, parent: Bundle) -> dict[str, Any]:
    """Train the controls and return the report.

    Raises:
        DrainedError: the worker shuts down; another attempt trains them all again.
        CancelledError: the job is to be cancelled.
    """
    attempt, comparison = context.attempt, ControlledComparison(trained, parent)
    attempt.record_event("transfer.started", "The controls are trained: what are the pretrained weights worth?", {})
    reported = time.monotonic()
    for event in comparison.run():
        context.stop_if_draining()
        if isinstance(event, Note):
            attempt.record_event(event.kind, event.message, event.data)
        elif time.monotonic() - reported >= _REPORT_SECONDS:
            reported = time.monotonic()
            step = trained.state.progress.step
            left = max(0.0, comparison.report.budget_seconds - comparison.seconds)
            attempt.report(progress_of(step, step, trained.state.progress.epoch, left), [], "training the controls")
    return comparison.result
