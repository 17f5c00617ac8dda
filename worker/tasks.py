"""The only Celery task: there may be jobs to run."""

from app.queue import TASK
from worker.celery_app import celery, slot


@celery.task(name=TASK)  # type: ignore[untyped-decorator]
def work() -> None:
    """Run jobs until none is left; the broker's message says nothing but that there may be some."""
    slot.supervisor.work()
