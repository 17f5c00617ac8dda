"""Tells a trainer that hangs from one that works in silence, by what its job reports and by its processor time.

A trainer hangs when its job reports nothing new for `seconds` (or for ten times the usual pause between reports, where
that is longer) and its processes use no processor time either: one that loads or evaluates much works in silence. A
trainer that spins (a deadlock that waits actively looks like work) has ten times as long.
"""

import os
import statistics
import time
from collections import deque
from contextlib import suppress

import psutil

_PATIENCE = 10  # times the usual pause; and times the limit, where processor time is used
_MAX_IDLE_SHARE = 0.01  # processor time per second of silence below which a trainer counts as idle
_PAUSES = 64  # as many of the last pauses say what is usual


class HangDetector:
    """Observes the reports of one trainer's job, and the trainer by its process group."""

    def __init__(self, group: int, seconds: float) -> None:
        self._group = group
        self._seconds = seconds
        self._report: object = None
        self._pauses: deque[float] = deque(maxlen=_PAUSES)
        self._reported_at = time.monotonic()
        self._cpu = 0.0  # of the group when the last report came

    def is_hung(self, report: object) -> bool:
        """Return whether the trainer hangs, from what its job reports now: any value that changes with its work."""
        now = time.monotonic()
        silence = now - self._reported_at
        if report != self._report:
            self._pauses.append(silence)
            self._report, self._reported_at, self._cpu = report, now, cpu_seconds(self._group)
            return False
        limit = max(self._seconds, _PATIENCE * statistics.median(self._pauses))
        if silence < limit:
            return False
        return silence >= _PATIENCE * limit or cpu_seconds(self._group) - self._cpu < _MAX_IDLE_SHARE * silence

    def reset(self) -> None:
        """Let the silence count from now on: the job could not report while the database was away."""
        self._report, self._reported_at = None, time.monotonic()


def cpu_seconds(group: int) -> float:
    """Return the processor time in seconds that the processes of a group and their ended children have used."""
    seconds = 0.0
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):  # it has just ended
            if os.getpgid(pid) == group:
                times = psutil.Process(pid).cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
