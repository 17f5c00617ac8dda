"""A job with its methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from pydantic import PrivateAttr

from graftwork import answers, requests
from graftwork.answer import Answer
from graftwork.progress import ENDED, Progress

if TYPE_CHECKING:
    from graftwork._sync.jobs import Jobs


class JobMethods(Answer):
    """What can be done with a job. Each method asks the service; the answer that it acts on stays as it is."""

    id: str

    _jobs: Jobs = PrivateAttr()

    @property
    def ended(self) -> bool:
        """Whether it had succeeded, failed or been cancelled when this was answered."""
        return self["status"] in ENDED

    def refresh(self) -> Job:
        """Return the job as it is now."""
        return self._jobs.get(self.id)

    def wait(self, *, check: bool = True, timeout: float | None = None, progress: Progress = False) -> Job:
        """Return the job once it has ended; `timeout` is in seconds, `progress=True` shows how far it is.

        Raises:
            JobFailedError: the job did not succeed, and `check` is set.
            TimeoutError: the job did not end in time; it continues to run.
        """
        return self._jobs.wait(self.id, check=check, timeout=timeout, progress=progress)

    def follow(self, *, after: int = 0) -> Iterator[answers.JobEvent]:
        """Yield the events after number `after` as they happen, each once, until the job has ended."""
        for event in self._jobs.follow(self.id, after=after):
            yield event

    def cancel(self) -> Job:
        """Cancel it; a running job stops within seconds."""
        return self._jobs.cancel(self.id)

    def pause(self) -> Job:
        """Pause it; a running job writes a checkpoint and frees its worker within seconds."""
        return self._jobs.pause(self.id)

    def resume(self) -> Job:
        """Queue it again after a pause."""
        return self._jobs.resume(self.id)

    def retry(self) -> Job:
        """Queue it again after it failed or was cancelled; it continues from its last checkpoint."""
        return self._jobs.retry(self.id)

    def extend(self, *, wait: bool = False, progress: Progress = False, **more: Unpack[requests.ExtendRequest]) -> Job:
        """Submit a job that continues this training for `epochs=10` or `steps=1000` more.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        return self._jobs.extend(self.id, wait=wait, progress=progress, **more)

    def delete(self) -> None:
        """Delete it, once it has ended; the models that it made stay."""
        self._jobs.delete(self.id)

    def files(self) -> list[answers.JobFile]:
        """Return the `name`, `bytes` and `sha256` of each of its files."""
        return self._jobs.files(self.id)

    def download(self, name: str, target: Path | str) -> Path:
        """Write one of its files to `target`.

        Raises:
            DamagedError: the bytes do not match their announced digest; no file is left then.
        """
        return self._jobs.download(self.id, name, target)


class Job(JobMethods, answers.Job):
    """A job: its fields, and what can be done with it."""


class JobSummary(JobMethods, answers.JobSummary):
    """A job as lists show it: without its config and its metrics; `refresh()` returns it whole."""
