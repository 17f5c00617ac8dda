"""/v1/jobs and /v1/recommendations. Answers are the service's JSON, as dictionaries."""

import builtins
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlencode

import httpx
from httpx_sse import EventSource

from app.client.errors import GraftworkApiError, JobFailedError
from app.client.lists import pages, path_of
from app.client.transport import Transport

Json: TypeAlias = dict[str, Any]

ENDED = ("succeeded", "failed", "cancelled")
FIRST_LOOK, MAX_LOOK = 0.05, 1.0
_FOLLOW_TIMEOUT = httpx.Timeout(60, connect=10)  # the service sends a ping well within this


class Jobs:
    """/v1/jobs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, *, kind: str, dataset: str, wait: bool = False, **fields: Any) -> Json:
        """Submit a job. With `wait` it has succeeded.

        Raises:
            JobFailedError: it ended without success.
        """
        job = self._transport.create("/v1/jobs", json={"kind": kind, "dataset": dataset, **fields})
        return self.wait(job["id"]) if wait else job

    def sweep(self, *, base: Json, space: Json, wait: bool = False, **fields: Any) -> Json:
        """Search fields of a job: `space` says by dotted field where values come from, `base` is the job's request.

        `list(sweep=job["id"])` goes through its trials. With `wait` it has succeeded.

        Raises:
            JobFailedError: it ended without success.
        """
        job = self._transport.create("/v1/jobs", json={"kind": "sweep", "base": base, "space": space, **fields})
        return self.wait(job["id"]) if wait else job

    def evaluate(
        self, model: str, dataset: str, *, baseline: str | None = None, wait: bool = True, **fields: Any
    ) -> Json:
        """Measure a model on a dataset; with a `baseline` both on the same rows, see `metrics["comparison"]`.

        `list(kind="evaluation", model=model)` goes through what was measured before. With `wait` it has succeeded.

        Raises:
            JobFailedError: it ended without success.
        """
        body = {"kind": "evaluation", "model": model, "dataset": dataset, "baseline": baseline, **fields}
        job = self._transport.create("/v1/jobs", json=body)
        return self.wait(job["id"]) if wait else job

    def recommend(
        self, dataset: str, target: str, *, models: Sequence[str] | None = None, wait: bool = True, **fields: Any
    ) -> Json:
        """Rank backbones for a labelled dataset, see `metrics["ranking"]`; null models are all of the project.

        With `wait` it has succeeded.

        Raises:
            JobFailedError: it ended without success.
        """
        named = None if models is None else [*models]
        body = {"dataset": dataset, "target": target, "models": named, **fields}
        job = self._transport.create("/v1/recommendations", json=body)
        return self.wait(job["id"]) if wait else job

    def estimate(self, *, kind: str, dataset: str, wait: bool = True, **fields: Any) -> Json:
        """Measure what a job would cost, see `metrics`; the fields are those of `create`. With `wait` it has succeeded.

        Raises:
            JobFailedError: it ended without success.
        """
        job = self._transport.create("/v1/jobs/estimate", json={"kind": kind, "dataset": dataset, **fields})
        return self.wait(job["id"]) if wait else job

    def get(self, job_id: str) -> Json:
        """Return a job."""
        return self._transport.get(path_of("jobs", job_id))

    def list(self, **filters: Any) -> Iterator[Json]:
        """Go through the jobs, the newest first."""
        return pages(self._transport, "/v1/jobs", filters)

    def cancel(self, job_id: str) -> Json:
        """Cancel a job, or ask its worker to."""
        return self._transport.send("POST", path_of("jobs", job_id, "cancel"))

    def pause(self, job_id: str) -> Json:
        """Pause a job, or ask its worker to; it frees its worker."""
        return self._transport.send("POST", path_of("jobs", job_id, "pause"))

    def resume(self, job_id: str) -> Json:
        """Queue a paused job again."""
        return self._transport.send("POST", path_of("jobs", job_id, "resume"))

    def retry(self, job_id: str) -> Json:
        """Queue a failed or cancelled job again; it goes on from its last checkpoint."""
        return self._transport.send("POST", path_of("jobs", job_id, "retry"))

    def extend(self, job_id: str, *, wait: bool = False, **more: int) -> Json:
        """Go on training where a succeeded job ended: `epochs=10` or `steps=1000` more, as it was counted.

        With `wait` it has succeeded.

        Raises:
            JobFailedError: it ended without success.
        """
        job = self._transport.create(path_of("jobs", job_id, "extend"), json=more)
        return self.wait(job["id"]) if wait else job

    def attempts(self, job_id: str) -> builtins.list[Json]:
        """Return a job's attempts, the first first, and how each ended."""
        attempts: builtins.list[Json] = self._transport.get(path_of("jobs", job_id, "attempts"))["data"]
        return attempts

    def metrics(self, job_id: str, *, after: int = -1, limit: int = 1000) -> Json:
        """Return what was measured after a step."""
        return self._transport.get(path_of("jobs", job_id, "metrics"), after=after, limit=limit)

    def curves(self, job_id: str) -> builtins.list[Json]:
        """Return which curves a job has: each one's `kind` and `head`."""
        curves: builtins.list[Json] = self._transport.get(path_of("jobs", job_id, "curves"))["data"]
        return curves

    def curve(self, job_id: str, kind: str, *, head: str | None = None) -> Json:
        """Return a curve as numbers: its `lines`, each with `x` and `y`."""
        return self._transport.get(path_of("jobs", job_id, "curves", kind), head=head)

    def draw(self, job_id: str, kind: str, *, head: str | None = None, form: str = "png") -> bytes:
        """Return a curve as a picture, png or svg."""
        query = {"format": form} if head is None else {"format": form, "head": head}
        path = f"{path_of('jobs', job_id, 'curves', kind)}?{urlencode(query)}"
        with self._transport.stream(path) as answer:
            return b"".join(answer.iter_bytes())

    def checkpoints(self, job_id: str) -> Json:
        """Return the checkpoints that are kept, the newest first."""
        return self._transport.get(path_of("jobs", job_id, "checkpoints"))

    def wait(self, job_id: str, *, check: bool = True, timeout: float | None = None) -> Json:
        """Return the job once it has ended; `timeout` is in seconds.

        Raises:
            JobFailedError: it ended without success, and `check` is set.
            TimeoutError: it did not end in time; it goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_LOOK
        while (job := self.get(job_id))["status"] not in ENDED:
            if deadline is not None and time.monotonic() + pause > deadline:
                msg = f"{job_id} has not ended within {timeout} seconds."
                raise TimeoutError(msg)
            self._transport.sleep(pause)
            pause = min(pause * 1.5, MAX_LOOK)
        if check and job["status"] != "succeeded":
            raise JobFailedError(job)
        return job

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Json]:
        """Go through the events after a number, as far as the job's story has come."""
        while True:
            page = self._transport.get(path_of("jobs", job_id, "events"), after=after, limit=1000)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["data"][-1]["seq"]

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[Json]:
        """Yield the events after a number as they come, each once, until the job has ended.

        A stream that is broken, or refused for now, is resumed after the last event that arrived.
        """
        failures = 0
        while True:
            try:
                for event in self._stream(job_id, after):
                    yield event
                    after, failures = event["seq"], 0
            except (httpx.TransportError, GraftworkApiError) as error:
                failures += 1
                self._transport.pause_or_raise(failures, error)
                continue
            if self.get(job_id)["status"] in ENDED:
                yield from self.events(job_id, after=after)
                return

    def _stream(self, job_id: str, after: int) -> Iterator[Json]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = path_of("jobs", job_id, "events")
        with self._transport.stream(path, headers=headers, timeout=_FOLLOW_TIMEOUT) as answer:
            for event in EventSource(answer).iter_sse():
                if event.data:  # a ping has none
                    yield event.json()
