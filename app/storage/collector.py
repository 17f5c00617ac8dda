"""The collector: a thread in every API and worker process that collects garbage now and then.

Of all processes one collects the store, and of those of a machine one its data folder: a row says when that was last
begun. The first collection comes one interval after the first start.
"""

import logging
import socket
import threading

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.settings import Settings
from app.storage import repository
from app.storage.garbage_collection import carry_out, plan
from app.storage.inventory import Area

log = logging.getLogger(__name__)

_MAX_LOOK_SECONDS = 60.0
_STOP_SECONDS = 5.0  # a collection that is cut off is harmless
_MAX_TASK = 200


class Collector:
    """Collects every `gc_seconds`, never where that is 0."""

    def __init__(self, database: Database, store: ArtifactStore, settings: Settings) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        machine = f"collect {socket.gethostname()} {settings.data_folder}"
        self._tasks: dict[Area, str] = {"store": "collect", "machine": machine[:_MAX_TASK]}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._settings.gc_seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """End, soon after a collection under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(min(self._settings.gc_seconds, _MAX_LOOK_SECONDS)):
            try:
                self.collect_what_is_due()
            except Exception:
                log.exception("garbage was not collected; it is tried again after %s s", self._settings.gc_seconds)

    def collect_what_is_due(self) -> None:
        """Collect the store and this machine's files, unless another process has begun that within `gc_seconds`."""
        for area, task in self._tasks.items():
            if self._begin(task):
                self._collect(area)

    def _begin(self, task: str) -> bool:
        """Whether the task is due, and this process is the one that does it."""
        seconds = self._settings.gc_seconds
        with self._database.reading() as session:
            if not repository.is_due(session, task, seconds):
                return False
        return self._database.transact(lambda session: repository.begin(session, task, seconds))

    def _collect(self, area: Area) -> None:
        verdicts = plan(self._database, self._store, self._settings, area)
        changes = [verdict for verdict in verdicts if verdict.action != "keep"]
        carry_out(changes, self._database, self._store, self._settings)
        size = sum(verdict.bytes for verdict in changes)
        log.info("garbage collection (%s): %d of %d files, %d bytes", area, len(changes), len(verdicts), size)
