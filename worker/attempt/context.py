"""What a kind of job works with."""

from dataclasses import dataclass
from pathlib import Path

from app.jobs.repository import JobRow
from app.settings import Settings
from worker.attempt.attempt import Attempt
from worker.attempt.drain import DrainedError, Draining


@dataclass(frozen=True, slots=True)
class JobContext:
    """One attempt at one job: the job's row, what writes to it, and a folder that is deleted when the attempt ends."""

    attempt: Attempt
    job: JobRow
    folder: Path
    draining: Draining
    settings: Settings

    def stop_if_draining(self) -> None:
        """Raise `DrainedError` where the worker is to let go of the job."""
        if self.draining.is_set():
            raise DrainedError
