"""The worker's Celery application and its only task, without what a ring starts: it writes `heard` instead."""

import sys

from celery.signals import worker_init, worker_process_init, worker_process_shutdown

from worker import celery_app, tasks

app = celery_app.celery
__all__ = ["app", "tasks"]


class _Ears:
    def work(self) -> None:
        sys.stdout.write("heard\n")
        sys.stdout.flush()


for signal, receiver in (
    (worker_init, celery_app._check_schema),
    (worker_process_init, celery_app._open_slot),
    (worker_process_shutdown, celery_app._close_slot),
):
    signal.disconnect(receiver)
celery_app.slot.supervisor = _Ears()  # type: ignore[assignment]
