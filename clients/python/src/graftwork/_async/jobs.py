"""The resources /v1/jobs, /v1/recommendations and /v1/batch_predictions."""

import builtins
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack, overload

import httpx
from httpx_sse import EventSource

from graftwork import answers, requests
from graftwork._async.job import AsyncJob, AsyncJobMethods, AsyncJobSummary
from graftwork._async.project_events import AsyncProjectEvents
from graftwork._async.transfers import download
from graftwork._async.transport import UPLOAD_SECONDS, AsyncTransport
from graftwork.errors import GraftworkApiError, JobFailedError
from graftwork.progress import ENDED, Progress, show_with
from graftwork.uploads import Source, form_fields, open_source

JobType = TypeVar("JobType", bound=AsyncJobMethods)

FIRST_POLL_SECONDS, MAX_POLL_SECONDS = 0.05, 1.0


class AsyncJobs(AsyncProjectEvents):
    """Creates, follows and controls jobs: /v1/jobs.

    A method with `wait=True` returns once the job has ended, and raises `JobFailedError` if it did not succeed;
    `progress=True` shows meanwhile how far it is.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.PretrainingRequest]
    ) -> AsyncJob: ...
    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.FineTuningRequest]
    ) -> AsyncJob: ...
    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.SweepRequest]
    ) -> AsyncJob: ...
    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.EvaluationRequest]
    ) -> AsyncJob: ...
    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.RecommendationJobRequest]
    ) -> AsyncJob: ...
    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.BatchPredictionRequest]
    ) -> AsyncJob: ...
    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.ExportRequest]
    ) -> AsyncJob: ...
    @overload
    async def create(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.EstimateRequest]
    ) -> AsyncJob: ...
    async def create(self, *, wait: bool = False, progress: Progress = False, **fields: Any) -> AsyncJob:
        """Submit a job of a `kind`; `fields` are its request.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        return await self._submit("POST /v1/jobs", fields, wait=wait, progress=progress)

    async def sweep(
        self, *, wait: bool = False, progress: Progress = False, **fields: Unpack[requests.SweepOptions]
    ) -> AsyncJob:
        """Submit a sweep: `base` is a job's request, `space` names its fields to search, dotted, and their values.

        `list(sweep=job.id)` yields its trials.

        Raises:
            JobFailedError: with `wait`, the sweep did not succeed.
        """
        return await self._submit("POST /v1/jobs", {"kind": "sweep", **fields}, wait=wait, progress=progress)

    async def evaluate(
        self,
        model: str,
        dataset: str,
        *,
        baseline: str | None = None,
        wait: bool = True,
        progress: Progress = False,
        **fields: Unpack[requests.EvaluationOptions],
    ) -> AsyncJob:
        """Measure a model on a dataset; with a `baseline`, compare both on the same rows: `metrics["comparison"]`.

        `list(kind="evaluation", model=model, view="full")` yields earlier evaluations of the model.

        Raises:
            JobFailedError: with `wait`, the evaluation did not succeed.
        """
        body = {"kind": "evaluation", "model": model, "dataset": dataset, "baseline": baseline, **fields}
        return await self._submit("POST /v1/jobs", body, wait=wait, progress=progress)

    async def recommend(
        self,
        dataset: str,
        target: str,
        *,
        models: Sequence[str] | None = None,
        wait: bool = True,
        progress: Progress = False,
        **fields: Unpack[requests.RecommendationOptions],
    ) -> AsyncJob:
        """Rank the models of the project, or only `models`, as backbones for a labelled dataset.

        The returned job's `metrics["ranking"]` holds the ranking.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        candidates = None if models is None else [*models]
        body = {"dataset": dataset, "target": target, "models": candidates, **fields}
        return await self._submit("POST /v1/recommendations", body, wait=wait, progress=progress)

    @overload
    async def estimate(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.PretrainingRequest]
    ) -> AsyncJob: ...
    @overload
    async def estimate(
        self, *, wait: bool = ..., progress: Progress = ..., **fields: Unpack[requests.FineTuningRequest]
    ) -> AsyncJob: ...
    async def estimate(self, *, wait: bool = True, progress: Progress = False, **fields: Any) -> AsyncJob:
        """Estimate the time and memory that a job would need, without running it; the fields are those of `create`.

        The returned job's `metrics` hold the estimate.

        Raises:
            JobFailedError: with `wait`, the estimate did not succeed.
        """
        return await self._submit("POST /v1/jobs/estimate", fields, wait=wait, progress=progress)

    async def batch_predict(
        self,
        model: str,
        source: Source | None = None,
        *,
        dataset: str | None = None,
        filename: str | None = None,
        wait: bool = False,
        progress: Progress = False,
        **options: Unpack[requests.BatchPredictionOptions],
    ) -> AsyncJob:
        """Submit a job that answers every row of a file, or of a dataset, whatever its size.

        `source` is what `datasets.create` takes; `options` are the other fields of the request, such as
        `outputs=["embeddings"]`. `job.download("results.parquet", path)` fetches its results.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        if source is None:
            body = {"kind": "batch_prediction", "model": model, "dataset": dataset, **options}
            return await self._submit("POST /v1/jobs", body, wait=wait, progress=progress)
        with open_source(source, filename) as (file, file_name):
            job = await self._transport.create(
                AsyncJob,
                "POST /v1/batch_predictions",
                data=form_fields({"model": model, **options}),
                files={"file": (file_name, file)},
                seconds=UPLOAD_SECONDS,
            )
        return await self._begun(job, wait=wait, progress=progress)

    async def files(self, job_id: str) -> builtins.list[answers.JobFile]:
        """Return the `name`, `bytes` and `sha256` of each file of a job."""
        return await self._transport.data(answers.JobFile, "GET /v1/jobs/{job_id}/files", job_id)

    async def download(self, job_id: str, name: str, target: Path | str) -> Path:
        """Write one file of a job to `target`.

        Raises:
            DamagedError: the bytes do not match their announced digest; no file is left then.
        """
        return await download(self._transport, target, "GET /v1/jobs/{job_id}/files/{name}", job_id, name)

    async def get(self, job_id: str) -> AsyncJob:
        """Return a job."""
        return self._own(await self._transport.ask(AsyncJob, "GET /v1/jobs/{job_id}", job_id))

    @overload
    def list(self, *, view: Literal["full"], **filters: Unpack[requests.JobFilters]) -> AsyncIterator[AsyncJob]: ...
    @overload
    def list(
        self, *, view: Literal["summary"] = ..., **filters: Unpack[requests.JobFilters]
    ) -> AsyncIterator[AsyncJobSummary]: ...
    async def list(self, *, view: Literal["summary", "full"] = "summary", **filters: Any) -> AsyncIterator[Any]:
        """Yield the jobs, newest first: summaries, without config and metrics unless `view="full"`."""
        entry = AsyncJob if view == "full" else AsyncJobSummary
        async for job in self._transport.items(entry, "GET /v1/jobs", {"view": view, **filters}):
            yield self._own(job)

    async def cancel(self, job_id: str) -> AsyncJob:
        """Cancel a job; a running one stops within seconds."""
        return self._own(await self._transport.ask(AsyncJob, "POST /v1/jobs/{job_id}/cancel", job_id))

    async def pause(self, job_id: str) -> AsyncJob:
        """Pause a job; a running one writes a checkpoint and frees its worker within seconds."""
        return self._own(await self._transport.ask(AsyncJob, "POST /v1/jobs/{job_id}/pause", job_id))

    async def resume(self, job_id: str) -> AsyncJob:
        """Queue a paused job again."""
        return self._own(await self._transport.ask(AsyncJob, "POST /v1/jobs/{job_id}/resume", job_id))

    async def retry(self, job_id: str) -> AsyncJob:
        """Queue a failed or cancelled job again; it continues from its last checkpoint."""
        return self._own(await self._transport.ask(AsyncJob, "POST /v1/jobs/{job_id}/retry", job_id))

    async def extend(
        self,
        job_id: str,
        *,
        wait: bool = False,
        progress: Progress = False,
        **more: Unpack[requests.ExtendRequest],
    ) -> AsyncJob:
        """Submit a job that continues the training of a succeeded one for `epochs=10` or `steps=1000` more.

        The unit has to be the one that the succeeded job was counted in.

        Raises:
            JobFailedError: with `wait`, the job did not succeed.
        """
        job = await self._transport.create(AsyncJob, "POST /v1/jobs/{job_id}/extend", job_id, json=more)
        return await self._begun(job, wait=wait, progress=progress)

    async def delete(self, job_id: str) -> None:
        """Delete an ended job with its events, metrics, checkpoints and curves; the models that it made stay."""
        await self._transport.send("DELETE /v1/jobs/{job_id}", job_id)

    async def attempts(self, job_id: str) -> builtins.list[answers.Attempt]:
        """Return a job's attempts, oldest first, and how each ended."""
        return await self._transport.data(answers.Attempt, "GET /v1/jobs/{job_id}/attempts", job_id)

    async def metrics(self, job_id: str, *, after: int = -1, limit: int = 1000) -> answers.MetricList:
        """Return the metrics measured after the step `after`, oldest first."""
        query = {"after": after, "limit": limit}
        return await self._transport.ask(answers.MetricList, "GET /v1/jobs/{job_id}/metrics", job_id, query=query)

    async def curves(self, job_id: str) -> builtins.list[answers.CurveEntry]:
        """Return the `kind` and `head` of each curve that a job has."""
        return await self._transport.data(answers.CurveEntry, "GET /v1/jobs/{job_id}/curves", job_id)

    async def curve(self, job_id: str, kind: str, *, head: str | None = None) -> answers.Curve:
        """Return a curve as numbers: `lines`, each with `x` and `y`."""
        route = "GET /v1/jobs/{job_id}/curves/{kind}"
        return await self._transport.ask(answers.Curve, route, job_id, kind, query={"head": head})

    async def draw(self, job_id: str, kind: str, *, head: str | None = None, form: str = "png") -> bytes:
        """Return a curve as an image file, png or svg."""
        query = {"format": form, "head": head}
        return await self._transport.read("GET /v1/jobs/{job_id}/curves/{kind}", job_id, kind, query=query)

    async def event_file(self, job_id: str) -> bytes:
        """Return a job's curves, results and parameters as an event file of TensorBoard."""
        return await self._transport.read("GET /v1/jobs/{job_id}/tensorboard", job_id)

    async def write_to_mlflow(self, job_id: str, **server: Unpack[requests.MlflowRequest]) -> answers.MlflowRun:
        """Write a job that has ended to an MLflow tracking server, by `url`, or to the service's own."""
        return await self._transport.ask(answers.MlflowRun, "POST /v1/jobs/{job_id}/mlflow", job_id, json=server)

    async def checkpoints(self, job_id: str) -> answers.CheckpointList:
        """Return the stored checkpoints, newest first."""
        return await self._transport.ask(answers.CheckpointList, "GET /v1/jobs/{job_id}/checkpoints", job_id)

    async def wait(
        self, job_id: str, *, check: bool = True, timeout: float | None = None, progress: Progress = False
    ) -> AsyncJob:
        """Return the job once it has ended; `timeout` is in seconds.

        Raises:
            JobFailedError: the job did not succeed, and `check` is set.
            TimeoutError: the job did not end in time; it continues to run.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, show = FIRST_POLL_SECONDS, show_with(progress)
        while True:
            job = await self.get(job_id)
            show(job)
            if job["status"] in ENDED:
                break
            if deadline is not None and time.monotonic() + pause > deadline:
                msg = f"{job_id} has not ended within {timeout} seconds."
                raise TimeoutError(msg)
            await self._transport.sleep(pause)
            pause = min(pause * 1.5, MAX_POLL_SECONDS)
        if check and job["status"] != "succeeded":
            raise JobFailedError(job)
        return job

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> AsyncIterator[answers.JobEvent]:
        """Yield the events so far, those after number `after`; `limit` is the size of a page."""
        while True:
            query = {"after": after, "limit": limit}
            page = await self._transport.send("GET /v1/jobs/{job_id}/events", job_id, query=query)
            for event in page["data"]:
                yield answers.JobEvent.from_json(event)
            if not page["has_more"]:
                return
            after = page["data"][-1]["seq"]

    async def follow(self, job_id: str, *, after: int = 0) -> AsyncIterator[answers.JobEvent]:
        """Yield the events after number `after` as they happen, each once, until the job has ended.

        A broken stream, or one that the service refuses temporarily, is resumed after the last event received.
        """
        retries = self._transport.retries()
        while True:
            try:
                async for event in self._stream(job_id, after):
                    yield event
                    after = event["seq"]
                    retries.succeeded()
            except (httpx.TransportError, GraftworkApiError) as error:
                await self._transport.sleep(retries.pause_after(error))
                continue
            job = await self.get(job_id)
            if job["status"] in ENDED:
                async for event in self.events(job_id, after=after):
                    yield event
                return

    async def _stream(self, job_id: str, after: int) -> AsyncIterator[answers.JobEvent]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        async with self._transport.stream("GET /v1/jobs/{job_id}/events", job_id, headers=headers) as response:
            async for event in EventSource(response).aiter_sse():
                if event.data:  # a ping has none
                    yield answers.JobEvent.from_json(event.json())

    async def _submit(self, route: str, body: Any, *, wait: bool, progress: Progress) -> AsyncJob:
        job = await self._transport.create(AsyncJob, route, json=body)
        return await self._begun(job, wait=wait, progress=progress)

    async def _begun(self, job: AsyncJob, *, wait: bool, progress: Progress) -> AsyncJob:
        return await self.wait(job["id"], progress=progress) if wait else self._own(job)

    def _own(self, job: JobType) -> JobType:
        """Let the methods of a job act by these."""
        job._jobs = self  # noqa: SLF001 - it is private to the client
        return job
