"""Turns of computing, dealt out by project: whoever waits comes after one slice of each other project that waits.

Long work takes a turn for each slice of it (a block of rows, some tokens) and stands in line again between them. The
next turn goes to the project that computes least at the moment, and among those to the one that had its last turn
longest ago; within a project, who came first is first.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from app.errors import UnavailableError

PATIENCE_SECONDS = 5.0  # of a project that computes already
LONG_PATIENCE_SECONDS = 60.0  # of one that does not: each of those before it needs a slice


class Turns:
    """As many turns at a time as there are slots; used from threads."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[threading.Event]] = {}
        self._computing: dict[str, int] = {}
        self._last: dict[str, int] = {}  # project -> number of its last turn
        self._numbers = count()

    @contextmanager
    def turn(self, project_id: str, *, goes_on: bool = False) -> Iterator[None]:
        """Hold a turn for a slice of computing; `goes_on`: for work that has begun, which waits as long as it takes.

        Raises:
            UnavailableError: there was none for too long.
        """
        self._take(project_id, goes_on=goes_on)
        try:
            yield
        finally:
            self._give_back(project_id)

    @contextmanager
    def spare_turn(self, project_id: str) -> Iterator[bool]:
        """Hold a turn that nobody else asks for just now; yields whether there was one, and never waits."""
        with self._lock:
            is_spare = self._free > 0 and not self._waiting
            if is_spare:
                self._free -= 1
                self._computing[project_id] = self._computing.get(project_id, 0) + 1
        try:
            yield is_spare
        finally:
            if is_spare:
                self._give_back(project_id)

    def _take(self, project_id: str, *, goes_on: bool) -> None:
        granted = threading.Event()
        with self._lock:
            self._waiting.setdefault(project_id, deque()).append(granted)
            self._grant()
        began = time.monotonic()
        while not granted.wait(PATIENCE_SECONDS):
            with self._lock:
                patience = PATIENCE_SECONDS if self._computing.get(project_id) else LONG_PATIENCE_SECONDS
                if goes_on or granted.is_set() or time.monotonic() < began + patience:
                    continue
                self._leave_line(project_id, granted)
            msg = "All cores are busy with predictions; try again."
            raise UnavailableError(msg, code="busy")

    def _give_back(self, project_id: str) -> None:
        with self._lock:
            self._free += 1
            self._computing[project_id] -= 1
            if not self._computing[project_id]:
                del self._computing[project_id]
            self._grant()

    def _grant(self) -> None:
        """Hand free turns to who is next."""
        while self._free and self._waiting:
            project_id = min(
                self._waiting, key=lambda other: (self._computing.get(other, 0), self._last.get(other, -1))
            )
            granted = self._waiting[project_id][0]
            self._leave_line(project_id, granted)
            self._free -= 1
            self._computing[project_id] = self._computing.get(project_id, 0) + 1
            self._last[project_id] = next(self._numbers)
            granted.set()

    def _leave_line(self, project_id: str, granted: threading.Event) -> None:
        self._waiting[project_id].remove(granted)
        if not self._waiting[project_id]:
            del self._waiting[project_id]
