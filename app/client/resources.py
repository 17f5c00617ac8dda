"""The resources of the API. Answers are the service's JSON, as dictionaries."""

import builtins
import hashlib
import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.parse import quote, urlencode

import httpx

from app.client.errors import DamagedError, DatasetFailedError, JobFailedError
from app.client.events import read_events
from app.client.transport import Transport

Json: TypeAlias = dict[str, Any]
Predictions: TypeAlias = list[Json]
Embeddings: TypeAlias = list[list[float]]
Generations: TypeAlias = list[Json]
Source: TypeAlias = "str | Path | bytes | Mapping[str, Any]"

ENDED = ("succeeded", "failed", "cancelled")
_UPLOAD_TIMEOUT = httpx.Timeout(600, connect=10)
_MOST_INPUTS = 1000  # of one request: 1,000 images as numbers are a few megabytes
FIRST_LOOK, LONGEST_LOOK = 0.05, 1.0
_FOLLOW_TIMEOUT = httpx.Timeout(60, connect=10)  # the service sends a ping well within this


def _pages(transport: Transport, path: str, filters: Mapping[str, Any]) -> Iterator[Json]:
    after = None
    while True:
        page = transport.get(path, after=after, limit=100, **filters)
        yield from page["data"]
        if not page["has_more"]:
            return
        after = page["last_id"]


class Datasets:
    """/v1/datasets."""

    def __init__(self, transport: Transport, jobs: "Jobs") -> None:
        self._transport = transport
        self._jobs = jobs

    def create(
        self, source: Source, *, name: str, filename: str | None = None, wait: bool = True, **options: Any
    ) -> Json:
        """Upload a dataset: a path, the bytes of a file, or arrays by name (`x`, and `y` if labelled).

        `options` are the form's fields, such as `columns={"age": "input"}`; None leaves one out. With `wait`
        the dataset is `ready`.

        Raises:
            DatasetFailedError: its preparation has failed.
        """
        fields = {key: _field(value) for key, value in options.items() if value is not None}
        with _opened(source, filename) as (file, shown):
            dataset = self._transport.create(
                "/v1/datasets", data={"name": name, **fields}, files={"file": (shown, file)}, timeout=_UPLOAD_TIMEOUT
            )
        return self.wait(dataset["id"]) if wait else dataset

    def version(self, dataset_id: str, *, name: str | None = None, wait: bool = True, **options: Any) -> Json:
        """Prepare the file of a dataset once more; `options` that are not given stay as they were.

        Raises:
            DatasetFailedError: its preparation has failed.
        """
        body = {"name": name, "options": options}
        dataset = self._transport.create(_path("datasets", dataset_id, "versions"), json=body)
        return self.wait(dataset["id"]) if wait else dataset

    def leaks(self, dataset_id: str, *, against: str | None = None) -> Json:
        """Return the rows that train shares with validation and test, or that are in another dataset, too."""
        return self._transport.get(_path("datasets", dataset_id, "leaks"), against=against)

    def wait(self, dataset_id: str) -> Json:
        """Return the dataset once it is ready.

        Raises:
            DatasetFailedError: its preparation has failed.
        """
        dataset = self.get(dataset_id)
        if dataset["status"] == "preparing":
            self._jobs.wait(dataset["job"], check=False)
            dataset = self.get(dataset_id)
        if dataset["status"] != "ready":
            raise DatasetFailedError(dataset)
        return dataset

    def get(self, dataset_id: str) -> Json:
        """Return a dataset."""
        return self._transport.get(_path("datasets", dataset_id))

    def list(self, **filters: Any) -> Iterator[Json]:
        """Go through the datasets, the newest first."""
        return _pages(self._transport, "/v1/datasets", filters)

    def report(self, dataset_id: str) -> Json:
        """Return what the preparation found and did."""
        return self._transport.get(_path("datasets", dataset_id, "report"))

    def rows(self, dataset_id: str, *, limit: int = 20, offset: int = 0) -> Json:
        """Return some prepared rows."""
        return self._transport.get(_path("datasets", dataset_id, "rows"), limit=limit, offset=offset)

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset."""
        self._transport.send("DELETE", _path("datasets", dataset_id))


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

    def get(self, job_id: str) -> Json:
        """Return a job."""
        return self._transport.get(_path("jobs", job_id))

    def list(self, **filters: Any) -> Iterator[Json]:
        """Go through the jobs, the newest first."""
        return _pages(self._transport, "/v1/jobs", filters)

    def cancel(self, job_id: str) -> Json:
        """Cancel a job, or ask its worker to."""
        return self._transport.send("POST", _path("jobs", job_id, "cancel"))

    def metrics(self, job_id: str, *, after: int = -1, limit: int = 1000) -> Json:
        """Return what was measured after a step."""
        return self._transport.get(_path("jobs", job_id, "metrics"), after=after, limit=limit)

    def curves(self, job_id: str) -> builtins.list[Json]:
        """Return which curves a job has: each one's `kind` and `head`."""
        found: builtins.list[Json] = self._transport.get(_path("jobs", job_id, "curves"))["data"]
        return found

    def curve(self, job_id: str, kind: str, *, head: str | None = None) -> Json:
        """Return a curve as numbers: its `lines`, each with `x` and `y`."""
        return self._transport.get(_path("jobs", job_id, "curves", kind), head=head)

    def draw(self, job_id: str, kind: str, *, head: str | None = None, form: str = "png") -> bytes:
        """Return a curve as a picture, png or svg."""
        wanted = {"format": form} if head is None else {"format": form, "head": head}
        path = f"{_path('jobs', job_id, 'curves', kind)}?{urlencode(wanted)}"
        with self._transport.stream(path) as answer:
            return b"".join(answer.iter_bytes())

    def checkpoints(self, job_id: str) -> Json:
        """Return the checkpoints that are kept, the newest first."""
        return self._transport.get(_path("jobs", job_id, "checkpoints"))

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
            pause = min(pause * 1.5, LONGEST_LOOK)
        if check and job["status"] != "succeeded":
            raise JobFailedError(job)
        return job

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Json]:
        """Go through the events after a number, as far as the job's story has come."""
        while True:
            page = self._transport.get(_path("jobs", job_id, "events"), after=after, limit=1000)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["data"][-1]["seq"]

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[Json]:
        """Yield the events after a number as they come, each once, until the job has ended.

        A broken stream is taken up again behind the last event that came.
        """
        failures = 0
        while True:
            try:
                for event in self._stream(job_id, after):
                    yield event
                    after, failures = event["seq"], 0
                if self.get(job_id)["status"] in ENDED:
                    yield from self.events(job_id, after=after)
                    return
            except httpx.TransportError as error:
                failures += 1
                self._transport.pause_or_raise(failures, error)

    def _stream(self, job_id: str, after: int) -> Iterator[Json]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = _path("jobs", job_id, "events")
        with self._transport.stream(path, headers=headers, timeout=_FOLLOW_TIMEOUT) as answer:
            yield from read_events(answer.iter_lines())


class Models:
    """/v1/models. `ref` is an id, a name, name@version or name@alias."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, source: Source, *, name: str, architecture: str, filename: str | None = None, **options: Any
    ) -> Json:
        """Import a pretrained backbone: weights of a known architecture, a .safetensors file or a zip or wheel of one.

        `options` are the form's fields: image_size; for bert vocab (vocab.txt's text), config, max_tokens, uncased.
        """
        fields = {key: _field(value) for key, value in options.items() if value is not None}
        fields |= {"name": name, "architecture": architecture}
        with _opened(source, filename) as (file, shown):
            files = {"file": (shown, file)}
            return self._transport.create("/v1/models", data=fields, files=files, timeout=_UPLOAD_TIMEOUT)

    def get(self, ref: str) -> Json:
        """Return a model."""
        return self._transport.get(_path("models", ref))

    def list(self, **filters: Any) -> Iterator[Json]:
        """Go through the models, the newest first."""
        return _pages(self._transport, "/v1/models", filters)

    def delete(self, ref: str) -> None:
        """Delete one version of a model."""
        self._transport.send("DELETE", _path("models", ref))

    def lineage(self, ref: str) -> Json:
        """Return what a model was made from, and what was made from it."""
        return self._transport.get(_path("models", ref, "lineage"))

    def alias(self, name: str, alias: str, ref: str) -> Json:
        """Point an alias of a name at one of its versions."""
        return self._transport.send("PUT", _path("models", name, "aliases", alias), json={"model": ref})

    def predict(self, ref: str, inputs: Any) -> Predictions:
        """Return one prediction per input, `{head: answer}`; an array (N, ...) will do as inputs."""
        return self._ask(_path("models", ref, "predictions"), "predictions", inputs)

    def embed(self, ref: str, inputs: Any) -> Embeddings:
        """Return one embedding per input; an array (N, ...) will do as inputs."""
        return self._ask(_path("models", ref, "embeddings"), "embeddings", inputs)

    def _ask(self, path: str, field: str, inputs: Any) -> builtins.list[Any]:
        """The answers in order; many inputs are sent in several requests."""
        answers: builtins.list[Any] = []
        for start in range(0, max(len(inputs), 1), _MOST_INPUTS):
            part = _plain(inputs[start : start + _MOST_INPUTS])
            answers += self._transport.send("POST", path, json={"inputs": part})[field]
        return answers

    def generate(self, ref: str, inputs: Sequence[str], **wish: Any) -> Generations:
        """Return one generation per text: whether it was `truncated`, and its `continuations`.

        `wish` says how: max_tokens, temperature, top_k, top_p, beams, n, seed, stop.
        """
        answer = self._transport.send(
            "POST", _path("models", ref, "generations"), json={"inputs": list(inputs), **wish}
        )
        generations: Generations = answer["generations"]
        return generations

    def download(self, ref: str, name: str, target: Path) -> Path:
        """Write one file of a model to `target`.

        Raises:
            DamagedError: what came is not what the service announced; nothing is written then.
        """
        scratch = target.with_name(f".{target.name}.part")
        try:
            self._fetch(_path("models", ref, "files", name), scratch)
            return scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)

    def _fetch(self, path: str, target: Path) -> None:
        digest = hashlib.sha256()
        with self._transport.stream(path) as answer, target.open("wb") as file:
            for chunk in answer.iter_bytes():
                digest.update(chunk)
                file.write(chunk)
        if answer.headers.get("etag") != f'"{digest.hexdigest()}"':
            msg = f"{path} came damaged; download it again."
            raise DamagedError(msg)


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="@") for part in parts)


def _field(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(inputs: Any) -> Any:
    """Arrays and tensors as lists, also within lists; NaN, which JSON has not, as null: a missing value."""
    if hasattr(inputs, "tolist"):
        whole = bool((inputs == inputs).all())  # noqa: PLR0124 - NaN alone differs from itself
        return inputs.tolist() if whole else _plain(inputs.tolist())
    if isinstance(inputs, list | tuple):
        return [_plain(one) for one in inputs]
    if isinstance(inputs, dict):
        return {name: _plain(value) for name, value in inputs.items()}
    return None if isinstance(inputs, float) and math.isnan(inputs) else inputs


@contextmanager
def _opened(source: Source, filename: str | None) -> Iterator[tuple[IO[bytes] | bytes, str]]:
    """Give the file to send and the name to show for it."""
    if isinstance(source, bytes):
        yield source, filename or "upload"
    elif isinstance(source, Mapping):
        import numpy as np  # noqa: PLC0415 - only where arrays are sent

        with tempfile.TemporaryFile() as file:
            np.savez(file, **source)
            file.seek(0)
            yield file, filename or "arrays.npz"
    else:
        path = Path(source)
        with path.open("rb") as file:
            yield file, filename or path.name
