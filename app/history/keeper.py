"""The keeper: a thread in every API process that adds up what has ended, and removes what is old.

Several at once wait for each other, transaction by transaction: each row is counted and removed once.
"""

from collections.abc import Callable
from functools import partial

from sqlalchemy.orm import Session

from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.history.repository import EVENTS, MEASUREMENTS, TOTALS, add_up, remove_old
from app.settings import Settings

_SECONDS = 60.0


class Keeper(PeriodicThread):
    """Works every minute, in transactions of bounded size."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__("history", _SECONDS, first=0.0)
        self._database = database
        self._steps: list[Callable[[Session], bool]] = [partial(add_up, total=total) for total in TOTALS]
        for retention, days in ((EVENTS, settings.event_days), (MEASUREMENTS, settings.metric_days)):
            if days:
                self._steps.append(partial(remove_old, retention=retention, days=days))

    def act(self) -> None:
        """Add up and remove until nothing is left to do."""
        for step in self._steps:
            while not self.is_stopping and self._database.transact(step):
                pass
