"""A pretraining as a job."""

from worker.attempt.context import JobContext
from worker.jobs.training import train


def run(context: JobContext) -> None:
    """Train a backbone, measure it and register it."""
    train(context)
