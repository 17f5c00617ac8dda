"""Wakes workers through the broker. The message, a ring, names no job, so that a lost one does no harm."""

import logging
import time
from typing import Any, Protocol

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0
QUEUE = "default"
TASK = "graftwork.work"

TRANSPORT = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.5,
    "max_retries": 0,
    "global_keyprefix": "graftwork:",
}
_KEY = f"graftwork:{QUEUE}"  # the list in which rings wait
_MAX_WAITING = 64  # rings; more would only pile up while all workers are busy


class JobQueue(Protocol):
    """Wakes workers."""

    failures: int  # rings that did not reach the broker

    def ring(self) -> bool:
        """Wake a worker; return False if the broker was not reached: the sweeper will ring again."""

    def reachable(self) -> bool:
        """Whether the broker answers now."""


class CeleryQueue:
    """Sends Celery's task by name, since the service never imports the worker. A dead or hung broker costs 0.5 s."""

    def __init__(self, broker_url: str) -> None:
        from celery import Celery  # noqa: PLC0415 - not needed with a MemoryQueue
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
        self._paused_until = 0.0

    def ring(self) -> bool:
        """See `JobQueue.ring`; after a failure the broker is not tried again for `_PAUSE_SECONDS`."""
        if time.monotonic() < self._paused_until:
            return False
        try:
            if self._broker.llen(_KEY) < _MAX_WAITING:
                self._celery.send_task(TASK, queue=QUEUE, retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001 - the job is committed, whatever the broker does
            self.failures += 1
            self._paused_until = time.monotonic() + _PAUSE_SECONDS
            log.warning("the broker could not be rung (the sweeper will): %s", error)
            return False
        return True

    def close(self) -> None:
        """Close all connections."""
        self._broker.close()
        self._celery.pool.force_close_all()
        self._celery.close()

    def reachable(self) -> bool:
        """See `JobQueue.reachable`."""
        try:
            return bool(self._broker.ping())
        except Exception:  # noqa: BLE001 - however it fails, it is not reachable
            return False


class MemoryQueue:
    """Counts rings in memory, for tests and for an API without a broker."""

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
