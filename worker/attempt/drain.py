"""How an attempt learns that it is to stop, and why."""

import threading
from typing import Literal

from app.jobs.transitions import JobError

StopReason = Literal["shutdown", "pause", "time_limit", "preempted"]

OVERDUE = JobError(
    code="time_limit",
    category="user",
    message="The job ran for as long as resources.max_seconds allows or, without it, the time limit of its project. "
    "Retry lets it go on from its last checkpoint, for as long again; ask for more in resources.max_seconds.",
    param="resources.max_seconds",
)


class DrainedError(Exception):
    """The attempt stops; the job is left as it stands."""


class Draining(threading.Event):
    """Set once the attempt is to stop."""

    reason: StopReason = "shutdown"

    def ask(self, reason: StopReason) -> None:
        """Set it, and say why; the first reason stays."""
        if not self.is_set():
            self.reason = reason
            self.set()
