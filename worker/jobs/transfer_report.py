"""A fine-tuning's transfer report as part of its job: told in events, kept in `metrics`, drained and cancelled."""

import time
from typing import Any

from app.ml.models.bundle import Bundle
from worker.attempt.attempt import Attempt
from worker.attempt.reporter import progress_of
from worker.process.drain import DrainedError, Draining
from worker.training.events import Note
from worker.training.run import Run
from worker.training.transfer_report.controlled_comparison import ControlledComparison

_LOOK_SECONDS = 1.0


def report_on(attempt: Attempt, trained: Run, parent: Bundle, draining: Draining) -> dict[str, Any]:
    """Train the controls and return what they tell.

    Raises:
        DrainedError: the worker shuts down; another attempt trains them all again.
        CancelledError: the job is to be cancelled.
    """
    comparison = ControlledComparison(trained, parent)
    attempt.tell("transfer.started", "The controls are trained: what are the pretrained weights worth?", {})
    looked = time.monotonic()
    for event in comparison.run():
        if draining.is_set():
            raise DrainedError
        if isinstance(event, Note):
            attempt.tell(event.kind, event.message, event.data)
        elif time.monotonic() - looked >= _LOOK_SECONDS:
            looked = time.monotonic()
            step = trained.state.progress.step
            left = max(0.0, comparison.report.budget_seconds - comparison.seconds)
            attempt.report(progress_of(step, step, trained.state.progress.epoch, left), [], "training the controls")
    return comparison.result
