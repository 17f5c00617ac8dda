"""Tells a trainer that hangs from one that works.

A job that tells nothing new for `seconds`, or ten times the usual pause where that is longer, is taken for hanging
where its processes use no processor time either: one that loads or measures much works on in silence. One that spins
(a deadlock that waits actively looks like work) has ten times as long.
"""

import os
import statistics
import time
from collections import deque
from contextlib import suppress

import psutil

_PATIENCE = 10  # times the usual pause; and times the limit, where processor time is used
_IDLE_SHARE = 0.01
_PAUSES = 64


class Watchdog:
    """Looks at one trainer, by its process group."""

    def __init__(self, group: int, seconds: float) -> None:
        self._group = group
        self._seconds = seconds
        self._told: object = None
        self._pauses: deque[float] = deque(maxlen=_PAUSES)
        self._changed = time.monotonic()
        self._cpu = 0.0

    def bark(self, told: object) -> bool:
        """Tell whether the trainer hangs, from what its job tells now."""
        now = time.monotonic()
        silent = now - self._changed
        if told != self._told:
            self._pauses.append(silent)
            self._told, self._changed, self._cpu = told, now, cpu_seconds(self._group)
            return False
        limit = max(self._seconds, _PATIENCE * statistics.median(self._pauses))
        if silent < limit:
            return False
        return silent >= _PATIENCE * limit or cpu_seconds(self._group) - self._cpu < _IDLE_SHARE * silent

    def forgive(self) -> None:
        """Begin anew: the job could not tell anything."""
        self._told, self._changed = None, time.monotonic()


def cpu_seconds(group: int) -> float:
    """Return the processor time in seconds that the processes of a group and their ended children have used."""
    seconds = 0.0
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):  # it has just ended
            if os.getpgid(pid) == group:
                times = psutil.Process(pid).cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
