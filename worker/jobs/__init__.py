"""What a worker does for each kind of job: one file a kind, which is imported and listed here.

Trainers alone import this: it brings torch. The requests of the kinds are in `app.jobs.kinds`.
"""

from collections.abc import Callable

from worker.attempt.context import JobContext
from worker.jobs import (
    batch_prediction,
    estimate,
    evaluation,
    export,
    fine_tuning,
    preparation,
    pretraining,
    recommendation,
    sweep,
)

WORK: dict[str, Callable[[JobContext], None]] = {
    "preparation": preparation.run,
    "pretraining": pretraining.run,
    "fine_tuning": fine_tuning.run,
    "sweep": sweep.run,
    "evaluation": evaluation.run,
    "recommendation": recommendation.run,
    "batch_prediction": batch_prediction.run,
    "estimate": estimate.run,
    "export": export.run,
}
