"""When keys were last used: remembered in memory, and written now and then by a thread of its own."""

import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.keys import repository

log = logging.getLogger(__name__)

WRITE_SECONDS = 60.0


class KeyUsage(PeriodicThread):
    """Notes uses of keys, and writes each at most once in `WRITE_SECONDS`."""

    def __init__(self, database: Database) -> None:
        super().__init__("key-usage", WRITE_SECONDS)
        self._database = database
        self._used: dict[str, float] = {}

    def note(self, key_id: str) -> None:
        """Remember that a key is used now."""
        self._used[key_id] = time.time()

    def stop(self) -> None:
        """Write what is not written, and end."""
        super().stop()
        self.act()

    def act(self) -> None:
        """Write all uses since the last time; while the database is away they wait."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            self._database.transact(lambda session: repository.note_uses(session, used))
        except SQLAlchemyError as error:
            log.warning("the last use of keys is not written yet: %s", type(error).__name__)
            self._used = used | self._used
