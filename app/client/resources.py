"""The resources /v1/datasets and /v1/models. Methods return the service's JSON as dictionaries."""

import builtins
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from app.client.errors import DatasetFailedError, GraftworkApiError
from app.client.inputs import requests_of, rows_of, to_json
from app.client.jobs import Jobs
from app.client.transfers import UPLOAD_TIMEOUT, Source, download, form_field, open_source
from app.client.transport import Transport, path_of

Json: TypeAlias = dict[str, Any]
Predictions: TypeAlias = list[Json]
Embeddings: TypeAlias = list[list[float]]
Generations: TypeAlias = list[Json]
Unknown: TypeAlias = Literal["warn", "refuse"]

MAX_PROMPTS = 256  # in one request


class Datasets:
    """Uploads, prepares and reads datasets: /v1/datasets."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    def create(
        self, source: Source, *, name: str, filename: str | None = None, wait: bool = True, **options: Any
    ) -> Json:
        """Upload a dataset: a path, the bytes of a file, or arrays by name (`x`, and `y` if labelled).

        `options` are the form's fields, such as `columns={"age": "input"}`; None leaves one out. With `wait`, returns
        once the dataset is `ready`.

        Raises:
            DatasetFailedError: its preparation failed.
        """
        fields = {key: form_field(value) for key, value in options.items() if value is not None}
        with open_source(source, filename) as (file, file_name):
            dataset = self._transport.create(
                "/v1/datasets",
                data={"name": name, **fields},
                files={"file": (file_name, file)},
                timeout=UPLOAD_TIMEOUT,
            )
        return self.wait(dataset["id"]) if wait else dataset

    def version(self, dataset_id: str, *, name: str | None = None, wait: bool = True, **options: Any) -> Json:
        """Prepare the uploaded file of a dataset again, as a new dataset; options that are not given stay the same.

        Raises:
            DatasetFailedError: its preparation failed.
        """
        body = {"name": name, "options": options}
        dataset = self._transport.create(path_of("datasets", dataset_id, "versions"), json=body)
        return self.wait(dataset["id"]) if wait else dataset

    def leaks(self, dataset_id: str, *, against: str | None = None) -> Json:
        """Return rows that train shares with validation or test, or that this dataset shares with `against`."""
        return self._transport.get(path_of("datasets", dataset_id, "leaks"), against=against)

    def wait(self, dataset_id: str) -> Json:
        """Return the dataset once it is ready.

        Raises:
            DatasetFailedError: its preparation failed.
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
        return self._transport.get(path_of("datasets", dataset_id))

    def list(self, **filters: Any) -> Iterator[Json]:
        """Yield the datasets, newest first: summaries, without columns, targets and decisions unless `view="full"`."""
        return self._transport.items("/v1/datasets", filters)

    def report(self, dataset_id: str) -> Json:
        """Return the preparation's report: what it found, removed and decided."""
        return self._transport.get(path_of("datasets", dataset_id, "report"))

    def rows(self, dataset_id: str, *, limit: int = 20, offset: int = 0) -> Json:
        """Return `limit` prepared rows from `offset` on."""
        return self._transport.get(path_of("datasets", dataset_id, "rows"), limit=limit, offset=offset)

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset."""
        self._transport.send("DELETE", path_of("datasets", dataset_id))


class Heads:
    """Fits heads while the request waits: /v1/heads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        model: str,
        dataset: str | None = None,
        rows: Any = None,
        labels: Any = None,
        target: str | builtins.list[str] | None = None,
        **options: Any,
    ) -> Json:
        """Fit heads on a model's backbone, on a dataset or on rows with labels, and return the model that they make.

        `rows` and `labels` are lists, or NumPy arrays. `options` are the request's other fields: heads, layer,
        name, climb, alias, unknown, timeout.
        """
        body: Json = {"model": model, "dataset": dataset, "target": target, **options}
        if rows is not None:
            body["rows"] = [to_json(row) for row in rows]
        if labels is not None:
            body["labels"] = [to_json(label) for label in labels]
        return self._transport.create(
            "/v1/heads", json={key: value for key, value in body.items() if value is not None}
        )


class Models:
    """Reads, imports and runs models: /v1/models. `ref` is an id, a name, name@version or name@alias."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, source: Source, *, name: str, architecture: str, filename: str | None = None, **options: Any
    ) -> Json:
        """Import the weights of a pretrained backbone: a .safetensors file, or a zip or wheel that holds one.

        `options` are the form's fields: image_size; for bert vocab (vocab.txt's text), config, max_tokens, uncased; for
        vit config, preprocessor.
        """
        fields = {key: form_field(value) for key, value in options.items() if value is not None}
        fields |= {"name": name, "architecture": architecture}
        with open_source(source, filename) as (file, file_name):
            files = {"file": (file_name, file)}
            return self._transport.create("/v1/models", data=fields, files=files, timeout=UPLOAD_TIMEOUT)

    def bring_in(self, source: str, *, name: str | None = None) -> Json:
        """Import published weights that are on the service's machine, by their name in the catalogue.

        Return the model; the one that is there already, if they were brought in before under this name.
        """
        body = {"source": source} if name is None else {"source": source, "name": name}
        return self._transport.create("/v1/models", json=body, timeout=UPLOAD_TIMEOUT)

    def get(self, ref: str) -> Json:
        """Return a model."""
        return self._transport.get(path_of("models", ref))

    def list(self, **filters: Any) -> Iterator[Json]:
        """Yield the models, newest first: summaries, without heads, metrics and files unless `view="full"`."""
        return self._transport.items("/v1/models", filters)

    def delete(self, ref: str) -> None:
        """Delete one version of a model; a name alone means its newest version.

        The version is looked up first and deleted by its id, so that no repetition deletes another one.
        """
        self._transport.send("DELETE", path_of("models", self.get(ref)["id"]))

    def lineage(self, ref: str) -> Json:
        """Return a model's ancestors and the models made from it."""
        return self._transport.get(path_of("models", ref, "lineage"))

    def alias(self, name: str, alias: str, ref: str | Mapping[str, float], *, shadow: str | None = None) -> Json:
        """Point an alias of a name at one of its versions, or at several by weight; each is checked before.

        A `shadow` is a version whose answers are compared and never sent: see `alias_report`.
        """
        meaning: Json = {"model": ref} if isinstance(ref, str) else {"versions": dict(ref)}
        return self._transport.send(
            "PUT", path_of("models", name, "aliases", alias), json={**meaning, "shadow": shadow}
        )

    def alias_report(self, name: str, alias: str) -> builtins.list[Json]:
        """Return how the predictions of an alias differ from those of its shadows, the newest first."""
        reports: builtins.list[Json] = self._transport.get(path_of("models", name, "aliases", alias, "report"))["data"]
        return reports

    def aliases(self, name: str) -> builtins.list[Json]:
        """Return the aliases of a name."""
        aliases: builtins.list[Json] = self._transport.get(path_of("models", name, "aliases"))["data"]
        return aliases

    def alias_history(self, name: str, alias: str) -> builtins.list[Json]:
        """Return the changes of an alias, the newest first."""
        changes: builtins.list[Json] = self._transport.get(path_of("models", name, "aliases", alias, "history"))["data"]
        return changes

    def roll_back(self, name: str, alias: str, *, revision: int | None = None) -> Json:
        """Point an alias at the version that it meant before, or at a revision of its history."""
        return self._transport.create(
            path_of("models", name, "aliases", alias, "rollback"), json={"revision": revision}
        )

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias; the version that it means stays."""
        self._transport.send("DELETE", path_of("models", name, "aliases", alias))

    def predict(
        self,
        ref: str,
        inputs: Any,
        *,
        unknown: Unknown = "warn",
        heads: builtins.list[str] | None = None,
        top_k: int | None = None,
        digits: int | None = None,
        timeout: float | None = None,
    ) -> Predictions:
        """Return one prediction `{head: answer}` per input.

        `inputs` are a list of rows, a single row, an array (N, ...), a pandas, polars or Arrow frame, a PIL image, or
        the path or bytes of a file, or an open one: a picture, CSV, JSON Lines, Parquet or .npy, of any number of rows.
        `unknown="refuse"` raises where an input holds what training did not see; else that is a `GraftworkWarning`.
        `heads` answer alone, with their `top_k` most probable classes, in so many significant `digits`. Inputs that
        are not answered within `timeout` seconds, of those that one request holds, are an error of status 504.
        """
        options = {"unknown": unknown, "heads": heads, "top_k": top_k, "digits": digits, "timeout": timeout}
        return self._post_inputs(path_of("models", ref, "predictions"), "predictions", inputs, options)

    def embed(
        self,
        ref: str,
        inputs: Any,
        *,
        unknown: Unknown = "warn",
        digits: int | None = None,
        timeout: float | None = None,
    ) -> Embeddings:
        """Return one embedding per input; `inputs`, `unknown`, `digits` and `timeout` are as in `predict`."""
        options = {"unknown": unknown, "digits": digits, "timeout": timeout}
        return self._post_inputs(path_of("models", ref, "embeddings"), "embeddings", inputs, options)

    def _post_inputs(self, path: str, field: str, inputs: Any, options: Json) -> builtins.list[Any]:
        """Return the answers in the order of the inputs, which are sent in batches."""
        chosen = {name: value for name, value in options.items() if value not in (None, "warn")}
        query = {"params": chosen} if chosen else {}
        answers: builtins.list[Any] = []
        for request in requests_of(inputs):
            try:
                answers += self._transport.send("POST", path, **request, **query)[field]
            except GraftworkApiError as error:
                if answers:  # places count within a request
                    error.add_note(f"{len(answers)} inputs were answered; the error counts from there on.")
                raise
        return answers

    def generate(self, ref: str, inputs: Any, **options: Any) -> Generations:
        """Return one generation per text: its `continuations`, and whether the text was `truncated`.

        `options` are max_tokens, temperature, top_k, top_p, beams, n, seed, stop, unknown and timeout.
        """
        rows, seed = to_json(rows_of(inputs)), options.pop("seed", 0)
        generations: Generations = []
        for start in range(0, max(len(rows), 1), MAX_PROMPTS):  # a text's seed is that of its place among all
            body = {"inputs": rows[start : start + MAX_PROMPTS], "seed": (seed + start) % 2**63, **options}
            generations += self._transport.send("POST", path_of("models", ref, "generations"), json=body)["generations"]
        return generations

    def download(self, ref: str, name: str, target: Path) -> Path:
        """Write one file of a model to `target`.

        Raises:
            DamagedError: the bytes do not match their announced digest; no file is left then.
        """
        return download(self._transport, path_of("models", ref, "files", name), target)
