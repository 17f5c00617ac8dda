"""When keys were last used: remembered in memory, and written now and then by a thread of its own."""

import logging
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Database
from app.keys import repository

log = logging.getLogger(__name__)

WRITE_SECONDS = 60.0
_STOP_SECONDS = 5.0


class KeyUsage:
    """Notes uses of keys, and writes each at most once in `WRITE_SECONDS`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-usage", daemon=True)

    def note(self, key_id: str) -> None:
        """Remember that a key is used now."""
        self._used[key_id] = time.time()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is not written, and end."""
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def write(self) -> None:
        """Write all uses since the last time; while the database is away they wait."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            self._database.transact(lambda session: repository.note_uses(session, used))
        except SQLAlchemyError as error:
            log.warning("the last use of keys is not written yet: %s", type(error).__name__)
            self._used = used | self._used

    def _run(self) -> None:
        while not self._stop.wait(WRITE_SECONDS):
            self.write()
        self.write()
