"""How far a job is, in one line: what `wait(progress=True)` shows."""

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO, TypeAlias

from graftwork.answer import Answer

ENDED = ("succeeded", "failed", "cancelled")
PLAIN_SECONDS = 10.0  # between lines where one cannot be written over

Progress: TypeAlias = bool | Callable[[Any], object]
"""Whether to show a line on standard error, or a function that each state of the job is handed to."""


def show_with(progress: Progress) -> Callable[[Answer], object]:
    """Return the function that shows a job each time that it is looked at."""
    if callable(progress):
        return progress
    return ProgressLine(sys.stderr) if progress else lambda _: None


class ProgressLine:
    """Writes a job's state over and over on one line of a terminal, elsewhere a line now and then."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._width = 0
        self._shown_at = 0.0
        self._shown: tuple[Any, ...] = ()

    def __call__(self, job: Answer) -> None:
        """Show the state of a job."""
        line, ended = describe(job), job["status"] in ENDED
        if self._file.isatty():
            end = "\n" if ended else ""
            self._file.write(f"\r{line.ljust(self._width)}{end}")
            self._width = len(line)
        else:
            state, now = (job["status"], job.get("phase")), time.monotonic()
            if state == self._shown and now - self._shown_at < PLAIN_SECONDS:
                return
            self._shown, self._shown_at = state, now
            self._file.write(f"{line}\n")
        self._file.flush()


def describe(job: Answer) -> str:
    """Return a job's name, state, share, step, loss and remaining time, as far as they are known."""
    words = [job.get("kind") or "job", job.get("name") or job["id"], job["status"]]
    if job.get("phase") and job["status"] not in ENDED:
        words.append(f"({job['phase']})")
    if job.get("queue_position") and job["status"] == "queued":
        words.append(f"at place {job['queue_position']}")
    progress = job.get("progress")
    if progress and job["status"] not in ENDED:
        words.append(f"{progress['fraction']:.0%}, step {progress['step']} of {progress['total_steps']}")
        if progress.get("loss") is not None:
            words.append(f"loss {progress['loss']:.4g}")
        if progress.get("eta_seconds") is not None:
            words.append(f"{duration(progress['eta_seconds'])} left")
    if job["status"] == "failed" and job.get("error"):
        words.append(job["error"]["message"])
    return " ".join(words)


def duration(seconds: float) -> str:
    """Return seconds as 45 s, 3:20 min or 2:05 h."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, rest_minutes = divmod(minutes, 60)
    return f"{hours}:{rest_minutes:02} h" if hours else f"{minutes}:{rest:02} min"
