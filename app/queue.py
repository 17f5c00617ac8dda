"""The doorbell: "there is work". It carries no job; a lost, doubled or late ring harms nothing."""

import logging
import time
from typing import Any, Protocol

log = logging.getLogger(__name__)

_SILENT_SECONDS = 5.0
QUEUE = "default"
TASK = "graftwork.work"

TRANSPORT = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.5,
    "max_retries": 0,
    "global_keyprefix": "graftwork:",
}
_KEY = f"graftwork:{QUEUE}"  # the list in which rings wait
_ENOUGH = 64  # rings that wait wake as many idle workers; more would pile up while all are busy


class JobQueue(Protocol):
    """Rings for a worker."""

    failures: int  # rings that reached nobody

    def ring(self) -> bool:
        """Say that there is work; False if nobody could be told, which the sweeper makes good."""

    def reachable(self) -> bool:
        """Tell whether the broker answers just now."""


class CeleryQueue:
    """Rings by Celery's task name; the service never imports the worker. A dead or hung broker costs 0.5 s."""

    def __init__(self, broker_url: str) -> None:
        from celery import Celery  # noqa: PLC0415 - a process that rings in memory needs no Celery
        from redis import Redis  # noqa: PLC0415 - the same

        limits = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": None}
        self._broker: Any = Redis.from_url(broker_url, **limits)
        self._celery: Any = Celery("graftwork", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            broker_transport_options=TRANSPORT,
            task_ignore_result=True,
            task_publish_retry=False,
            task_serializer="json",
        )
        self.failures = 0
        self._silent_until = 0.0

    def ring(self) -> bool:
        """See `JobQueue.ring`; after a failure nobody waits for the broker again for a while."""
        if time.monotonic() < self._silent_until:
            return False
        try:
            if self._broker.llen(_KEY) < _ENOUGH:
                self._celery.send_task(TASK, queue=QUEUE, retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001 - whatever a broker does wrong, the job row is committed
            self.failures += 1
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            log.warning("the broker could not be rung (the sweeper will): %s", error)
            return False
        return True

    def close(self) -> None:
        """Give its connections back."""
        self._broker.close()
        self._celery.pool.force_close_all()
        self._celery.close()

    def reachable(self) -> bool:
        """See `JobQueue.reachable`."""
        try:
            return bool(self._broker.ping())
        except Exception:  # noqa: BLE001 - however it fails, it does not answer
            return False


class MemoryQueue:
    """The in-memory twin: counts rings. For tests and for running without a broker."""

    failures = 0

    def __init__(self) -> None:
        self.rings = 0

    def ring(self) -> bool:
        """See `JobQueue.ring`."""
        self.rings += 1
        return True

    def reachable(self) -> bool:
        """See `JobQueue.reachable`."""
        return True
