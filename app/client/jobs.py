"""The resources /v1/jobs and /v1/recommendations. Methods return the service's JSON as dictionaries."""

import builtins
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import httpx
from httpx_sse import EventSource

from app.client.errors import GraftworkApiError, JobFailedError
from app.client.transfers import UPLOAD_TIMEOUT, Source, download, form_field, open_source
from app.client.transport import Transport, path_of

Json: TypeAlias = dict[str, Any]

ENDED = ("succeeded", "failed", "cancelled")
FIRST_POLL_SECONDS, MAX_POLL_SECONDS = 0.05, 1.0
_FOLLOW_TIMEOUT = httpx.Timeout(60, connect=10)  # the service sends a ping well within this


class Jobs:
    """Creates, follows and controls jobs: /v1/jobs.

    A method with `wait=True` returns once the job has ended, and raises `JobFailedError` if it did not succeed.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, *, kind: str, dataset: str, wait: bool = False, **fields: Any) -> Json:
        """Submit a job of a kind on a dataset; `fields` are the rest of the request.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        job = self._transport.create("/v1/jobs", json={"kind": kind, "dataset": dataset, **fields})
        return self.wait(job["id"]) if wait else job

    def sweep(self, *, base: Json, space: Json, wait: bool = False, **fields: Any) -> Json:
        """Submit a sweep: `base` is a job's request, `space` names its fields to search, dotted, and their values.

        `list(sweep=job["id"])` yields its trials.

        Raises:
            JobFailedError: with `wait`, the sweep did not succeed.
        """
        job = self._transport.create("/v1/jobs", json={"kind": "sweep", "base": base, "space": space, **fields})
        return self.wait(job["id"]) if wait else job

    def evaluate(
        self, model: str, dataset: str, *, baseline: str | None = None, wait: bool = True, **fields: Any
    ) -> Json:
        """Measure a model on a dataset; with a `baseline`, compare both on the same rows: `metrics["comparison"]`.

        `list(kind="evaluation", model=model, view="full")` yields earlier evaluations of the model.

        Raises:
            JobFailedError: with `wait`, the evaluation did not succeed.
        """
        body = {"kind": "evaluation", "model": model, "dataset": dataset, "baseline": baseline, **fields}
        job = self._transport.create("/v1/jobs", json=body)
        return self.wait(job["id"]) if wait else job

    def recommend(
        self, dataset: str, target: str, *, models: Sequence[str] | None = None, wait: bool = True, **fields: Any
    ) -> Json:
        """Rank the models of the project, or only `models`, as backbones for a labelled dataset.

        The returned job's `metrics["ranking"]` holds the ranking.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        candidates = None if models is None else [*models]
        body = {"dataset": dataset, "target": target, "models": candidates, **fields}
        job = self._transport.create("/v1/recommendations", json=body)
        return self.wait(job["id"]) if wait else job

    def estimate(self, *, kind: str, dataset: str, wait: bool = True, **fields: Any) -> Json:
        """Estimate the time and memory that a job would need, without running it; the fields are those of `create`.

        The returned job's `metrics` hold the estimate.

        Raises:
            JobFailedError: with `wait`, the estimate did not succeed.
        """
        job = self._transport.create("/v1/jobs/estimate", json={"kind": kind, "dataset": dataset, **fields})
        return self.wait(job["id"]) if wait else job

    def batch_predict(
        self,
        model: str,
        source: Source | None = None,
        *,
        dataset: str | None = None,
        filename: str | None = None,
        wait: bool = False,
        **options: Any,
    ) -> Json:
        """Submit a job that answers every row of a file, or of a dataset, whatever its size.

        `source` is a path, the bytes of a file, or arrays by name; `options` are the other fields of the request, such
        as `outputs=["embeddings"]`. `download(job["id"], "results.parquet", path)` fetches its results.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        if source is None:
            body = {"kind": "batch_prediction", "model": model, "dataset": dataset, **options}
            job = self._transport.create("/v1/jobs", json=body)
        else:
            fields = {name: form_field(value) for name, value in options.items() if value is not None}
            with open_source(source, filename) as (file, file_name):
                job = self._transport.create(
                    "/v1/batch_predictions",
                    data={"model": model, **fields},
                    files={"file": (file_name, file)},
                    timeout=UPLOAD_TIMEOUT,
                )
        return self.wait(job["id"]) if wait else job

    def files(self, job_id: str) -> builtins.list[Json]:
        """Return the `name`, `bytes` and `sha256` of each file of a job."""
        files: builtins.list[Json] = self._transport.get(path_of("jobs", job_id, "files"))["data"]
        return files

    def download(self, job_id: str, name: str, target: Path) -> Path:
        """Write one file of a job to `target`.

        Raises:
            DamagedError: the bytes do not match their announced digest; no file is left then.
        """
        return download(self._transport, path_of("jobs", job_id, "files", name), target)

    def get(self, job_id: str) -> Json:
        """Return a job."""
        return self._transport.get(path_of("jobs", job_id))

    def list(self, **filters: Any) -> Iterator[Json]:
        """Yield the jobs, newest first: summaries, without config and metrics unless `view="full"`.

        Filters are kind, status, name, dataset, model, sweep, created_after, created_before, and metadata as
        "key:value" or a list of such.
        """
        return self._transport.items("/v1/jobs", filters)

    def cancel(self, job_id: str) -> Json:
        """Cancel a job; a running one stops within seconds."""
        return self._transport.send("POST", path_of("jobs", job_id, "cancel"))

    def pause(self, job_id: str) -> Json:
        """Pause a job; a running one writes a checkpoint and frees its worker within seconds."""
        return self._transport.send("POST", path_of("jobs", job_id, "pause"))

    def resume(self, job_id: str) -> Json:
        """Queue a paused job again."""
        return self._transport.send("POST", path_of("jobs", job_id, "resume"))

    def retry(self, job_id: str) -> Json:
        """Queue a failed or cancelled job again; it continues from its last checkpoint."""
        return self._transport.send("POST", path_of("jobs", job_id, "retry"))

    def extend(self, job_id: str, *, wait: bool = False, **more: int) -> Json:
        """Submit a job that continues the training of a succeeded one for `epochs=10` or `steps=1000` more.

        The unit has to be the one that the succeeded job was counted in.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        job = self._transport.create(path_of("jobs", job_id, "extend"), json=more)
        return self.wait(job["id"]) if wait else job

    def delete(self, job_id: str) -> None:
        """Delete an ended job with its events, metrics, checkpoints and curves; the models that it made stay."""
        self._transport.send("DELETE", path_of("jobs", job_id))

    def attempts(self, job_id: str) -> builtins.list[Json]:
        """Return a job's attempts, oldest first, and how each ended."""
        attempts: builtins.list[Json] = self._transport.get(path_of("jobs", job_id, "attempts"))["data"]
        return attempts

    def metrics(self, job_id: str, *, after: int = -1, limit: int = 1000) -> Json:
        """Return the metrics measured after the step `after`, oldest first."""
        return self._transport.get(path_of("jobs", job_id, "metrics"), after=after, limit=limit)

    def curves(self, job_id: str) -> builtins.list[Json]:
        """Return the `kind` and `head` of each curve that a job has."""
        curves: builtins.list[Json] = self._transport.get(path_of("jobs", job_id, "curves"))["data"]
        return curves

    def curve(self, job_id: str, kind: str, *, head: str | None = None) -> Json:
        """Return a curve as numbers: `lines`, each with `x` and `y`."""
        return self._transport.get(path_of("jobs", job_id, "curves", kind), head=head)

    def draw(self, job_id: str, kind: str, *, head: str | None = None, form: str = "png") -> bytes:
        """Return a curve as an image file, png or svg."""
        query = {"format": form} if head is None else {"format": form, "head": head}
        path = f"{path_of('jobs', job_id, 'curves', kind)}?{urlencode(query)}"
        with self._transport.stream(path) as response:
            return b"".join(response.iter_bytes())

    def checkpoints(self, job_id: str) -> Json:
        """Return the stored checkpoints, newest first."""
        return self._transport.get(path_of("jobs", job_id, "checkpoints"))

    def wait(self, job_id: str, *, check: bool = True, timeout: float | None = None) -> Json:
        """Return the job once it has ended; `timeout` is in seconds.

        Raises:
            JobFailedError: the job did not succeed, and `check` is set.
            TimeoutError: the job did not end in time; it continues to run.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_POLL_SECONDS
        while (job := self.get(job_id))["status"] not in ENDED:
            if deadline is not None and time.monotonic() + pause > deadline:
                msg = f"{job_id} has not ended within {timeout} seconds."
                raise TimeoutError(msg)
            self._transport.sleep(pause)
            pause = min(pause * 1.5, MAX_POLL_SECONDS)
        if check and job["status"] != "succeeded":
            raise JobFailedError(job)
        return job

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Json]:
        """Yield the events so far, those after number `after`."""
        while True:
            page = self._transport.get(path_of("jobs", job_id, "events"), after=after, limit=1000)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["data"][-1]["seq"]

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[Json]:
        """Yield the events after number `after` as they happen, each once, until the job has ended.

        A broken stream, or one that the service refuses temporarily, is resumed after the last event received.
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
        with self._transport.stream(path, headers=headers, timeout=_FOLLOW_TIMEOUT) as response:
            for event in EventSource(response).iter_sse():
                if event.data:  # a ping has none
                    yield event.json()
