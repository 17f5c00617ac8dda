"""The collector: a thread in every API and worker process that collects garbage now and then.

Of all processes one collects the store, and of those of a machine one its data folder: a row says when that was last
begun. The first collection comes one interval after the first start.
"""

import logging
import socket

from app.artifacts import ArtifactStore
from app.db import housekeeping
from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.settings import Settings
from app.storage.garbage_collection import carry_out, plan
from app.storage.inventory import Area

log = logging.getLogger(__name__)

_MAX_LOOK_SECONDS = 60.0
_MAX_TASK = 200


class Collector(PeriodicThread):
    """Collects every `gc_seconds`, never where that is 0."""

    def __init__(self, database: Database, store: ArtifactStore, settings: Settings) -> None:
        super().__init__("collector", min(settings.gc_seconds, _MAX_LOOK_SECONDS))
        self._database = database
        self._store = store
        self._settings = settings
        machine = f"collect {socket.gethostname()} {settings.data_folder}"
        self._tasks: dict[Area, str] = {"store": "collect", "machine": machine[:_MAX_TASK]}

    def act(self) -> None:
        """Collect the store and this machine's files, unless another process has begun that within `gc_seconds`."""
        for area, task in self._tasks.items():
            if self._begin(task):
                self._collect(area)

    def _begin(self, task: str) -> bool:
        """Whether the task is due, and this process is the one that does it."""
        seconds = self._settings.gc_seconds
        with self._database.reading() as session:
            elapsed = housekeeping.seconds_since(session, task)
        if elapsed is not None and elapsed < seconds:
            return False
        return self._database.transact(lambda session: housekeeping.begin(session, task, seconds))

    def _collect(self, area: Area) -> None:
        verdicts = plan(self._database, self._store, self._settings, area)
        changes = [verdict for verdict in verdicts if verdict.action != "keep"]
        carry_out(changes, self._database, self._store, self._settings)
        size = sum(verdict.bytes for verdict in changes)
        log.info("garbage collection (%s): %d of %d files, %d bytes", area, len(changes), len(verdicts), size)
