"""A job with its methods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from pydantic import PrivateAttr

from graftwork import answers, requests
from graftwork.answer import Answer
from graftwork.progress import ENDED, Progress

if TYPE_CHECKING:
    from graftwork._async.jobs import AsyncJobs


class AsyncJobMethods(Answer):
    """What can be done with a job. Each method asks the service; the answer that it acts on stays as it is."""

    id: str

    _jobs: AsyncJobs = PrivateAttr()

    @property
    def ended(self) -> bool:
        """Whether it had succeeded, failed or been cancelled when this was answered."""
        return self["status"] in ENDED

    async def refresh(self) -> AsyncJob:
        """Return the job as it is now."""
        return await self._jobs.get(self.id)

    async def wait(self, *, check: bool = True, timeout: float | None = None, progress: Progress = False) -> AsyncJob:
        """Return the job once it has ended; `timeout` is in seconds, `progress=True` shows how far it is.

        Raises:
            JobFailedError: the job did not succeed, and `check` is set.
            TimeoutError: the job did not end in time; it continues to run.
        """
        return await self._jobs.wait(self.id, check=check, timeout=timeout, progress=progress)

    async def follow(self, *, after: int = 0) -> AsyncIterator[answers.JobEvent]:
        """Yield the events after number `after` as they happen, each once, until the job has ended."""
        async for event in self._jobs.follow(self.id, after=after):
            yield event

    async def cancel(self) -> AsyncJob:
        """Cancel it; a running job stops within seconds."""
        return await self._jobs.cancel(self.id)

    async def pause(self) -> AsyncJob:
        """Pause it; a running job writes a checkpoint and frees its worker within seconds."""
        return await self._jobs.pause(self.id)

    async def resume(self) -> AsyncJob:
        """Queue it again after a pause."""
        return await self._jobs.resume(self.id)

    async def retry(self) -> AsyncJob:
        """Queue it again after it failed or was cancelled; it continues from its last checkpoint."""
        return await self._jobs.retry(self.id)

    async def extend(
        self, *, wait: bool = False, progress: Progress = False, **more: Unpack[requests.ExtendRequest]
    ) -> AsyncJob:
        """Submit a job that continues this training for `epochs=10` or `steps=1000` more.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        return await self._jobs.extend(self.id, wait=wait, progress=progress, **more)

    async def delete(self) -> None:
        """Delete it, once it has ended; the models that it made stay."""
        await self._jobs.delete(self.id)

    async def files(self) -> list[answers.JobFile]:
        """Return the `name`, `bytes` and `sha256` of each of its files."""
        return await self._jobs.files(self.id)

    async def download(self, name: str, target: Path | str) -> Path:
        """Write one of its files to `target`.

        Raises:
            DamagedError: the bytes do not match their announced digest; no file is left then.
        """
        return await self._jobs.download(self.id, name, target)


class AsyncJob(AsyncJobMethods, answers.Job):
    """A job: its fields, and what can be done with it."""


class AsyncJobSummary(AsyncJobMethods, answers.JobSummary):
    """A job as lists show it: without its config and its metrics; `refresh()` returns it whole."""
