"""The keeper: a thread in every API process that adds up what has ended.

Several at once wait for each other, transaction by transaction: each row is counted once.
"""

from functools import partial

from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.history.repository import TOTALS, add_up
from app.settings import Settings

_SECONDS = 60.0


class Keeper(PeriodicThread):
    """Works every minute, in transactions of bounded size."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__("history", _SECONDS, first=0.0)
        self._database = database
        self._settings = settings

    def act(self) -> None:
        """Add up until nothing is left to do."""
        for total in TOTALS:
            while not self.is_stopping and self._database.transact(partial(add_up, total=total)):
                pass
