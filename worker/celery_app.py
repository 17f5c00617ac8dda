"""The worker's Celery application. The broker keeps no truth: a message only says that there is work. No torch here."""

import multiprocessing
from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from app.artifacts import open_store
from app.cli.database import exit_unless_usable
from app.db.session import Database
from app.jobs.sweeper import Sweeper
from app.kit import logs
from app.kit.process import die_with_parent
from app.queue import QUEUE, TRANSPORT, CeleryQueue
from app.settings import Settings
from app.storage.collector import Collector
from worker import ring_transport
from worker.process.supervisor import Supervisor

settings = Settings()
ring_transport.use()
celery = Celery("graftwork", broker=settings.broker, include=["worker.tasks"])
celery.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,  # the truth is in SQL
    task_acks_late=False,  # a doorbell may be lost
    task_reject_on_worker_lost=False,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # no ring is held hostage by a busy worker
    task_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_max_tasks_per_child=None,
    task_publish_retry=False,
    broker_transport_options={**TRANSPORT, "socket_timeout": 5, "health_check_interval": 25},
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
)


class SharedFlag:
    """Set in Celery's parent, seen in its forked child. Without a lock: a killed process would hold it for ever."""

    def __init__(self) -> None:
        self._value = multiprocessing.get_context("fork").RawValue("b", 0)

    def set(self) -> None:
        """Set the flag, for good."""
        self._value.value = 1

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return bool(self._value.value)


_draining = SharedFlag()


class Slot:
    """The objects of the Celery child: a supervisor, a sweeper that also polls for work, and a collector."""

    supervisor: Supervisor
    sweeper: Sweeper
    collector: Collector
    database: Database


slot = Slot()


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logs(**_: Any) -> None:
    """Configure our logs: Celery sets up its own only where nothing is connected to this signal."""
    logs.configure("worker")


@worker_init.connect  # type: ignore[untyped-decorator]
def _check_schema(**_: Any) -> None:
    exit_unless_usable(settings, may_be_away=True)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _open_slot(**_: Any) -> None:
    """Open everything in the child: connections do not survive a fork."""
    die_with_parent()
    slot.database = Database(settings.sql_url, settings.project_limits)
    queue = CeleryQueue(settings.broker)
    slot.supervisor = Supervisor(settings, slot.database, queue, _draining)
    slot.supervisor.start()
    slot.sweeper = Sweeper(slot.database, queue, settings, idle=slot.supervisor.poll)
    slot.sweeper.start()
    slot.collector = Collector(slot.database, open_store(settings), settings)
    slot.collector.start()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _close_slot(**_: Any) -> None:
    slot.collector.stop()
    slot.sweeper.stop()
    slot.supervisor.close()
    slot.database.close()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _drain(**_: Any) -> None:
    """Let the running job write a checkpoint and go back to the queue, no attempt charged."""
    _draining.set()
