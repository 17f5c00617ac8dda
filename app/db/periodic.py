"""A thread that works on the database again and again while the process does other things."""

import logging
import threading
from abc import ABC, abstractmethod

from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)


class PeriodicThread(ABC):
    """Calls `act` every so many seconds until it is stopped, never where they are 0; whatever fails is logged.

    After a failure the next call comes after `retry_seconds`, and `wake` brings any call forward. `stop` waits up to
    `stop_seconds` for a call under way: what is cut off then must be harmless.
    """

    stop_seconds = 5.0

    def __init__(self, name: str, seconds: float, *, first: float | None = None, retry: float | None = None) -> None:
        self._seconds = seconds
        self._first_seconds = seconds if first is None else first
        self._retry_seconds = seconds if retry is None else retry
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """End after a call under way."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self.stop_seconds)

    @property
    def is_stopping(self) -> bool:
        """Whether a call shall come to its end soon."""
        return self._stopping

    def wake(self) -> None:
        """Call at once, or once more after a call under way."""
        self._wake.set()

    @abstractmethod
    def act(self) -> None:
        """Do what is due."""

    def _run(self) -> None:
        self._wake.wait(self._first_seconds)
        while not self._stopping:
            self._wake.clear()
            self._wake.wait(self._seconds if self._try() else self._retry_seconds)

    def _try(self) -> bool:
        name = self._thread.name
        try:
            self.act()
        except SQLAlchemyError as error:
            log.warning("%s: the database does not answer: %s", name, type(error).__name__)
        except Exception:
            log.exception("%s failed; it is tried again in %s s", name, self._retry_seconds)
        else:
            return True
        return False
