"""The short way of predictions and embeddings: sound JSON requests for models in memory, answered in batches.

It stands before the application and answers nothing but 200: whatever is unusual in a request, be it an error or a form
of the body that only the endpoints read, it leaves to them, with the body as it came. So there is one place for every
other answer, and this one can be short: no framework, no thread and no line of log for a request.
"""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from app.dependencies import Services
from app.keys.service import Principal, hash_key
from app.kit.single_flight import SingleFlight
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.head_answers import feature_rows
from app.predictions.bodies import plain_json
from app.predictions.resolution import ResolvedModel, load, refresh, resolve
from app.predictions.service import ignore_overflow
from app.security import Authenticator
from app.serving.batching import Batcher, Part
from app.serving.engine import LoadedModel, Resident, Rows
from app.shares.admission import Slot

MAX_BODY_BYTES = 1 << 20  # larger ones would hold up the event loop for milliseconds
MAX_LOOP_BYTES = 1 << 12  # of a body whose rows are read one by one; a picture may unpack to a thousand times as much
RECENT_SECONDS = 1.0  # for which the same head of a request means the same
_MAX_RECENT = 4096
_JSON = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")
_ACCEPTED = (b"*/*", b"application/json", b"application/json, text/plain, */*", b"application/json, */*")
_SMALL_BODY_BYTES = 1 << 12
_PARSED_BYTES = 8  # for each byte of a body of numbers or of strings, with what parses it
_BASE = ("", "v1", "models")
_UNUSUAL = (b"content-encoding", b"transfer-encoding", b"expect")


def _predictions(rows: Rows, parts: Sequence[Part]) -> Sequence[Any]:
    model: LoadedModel = parts[0][0]
    with ignore_overflow():
        if all(other is model for other, _ in parts):
            return model.predict(rows)
        return model.predict_together(rows, parts)


def _embeddings(rows: Rows, parts: Sequence[Part]) -> Sequence[Any]:
    """Return the features of each row as a list; None where they are not finite, which the endpoint refuses."""
    model: LoadedModel = parts[0][0]
    with ignore_overflow():
        features = model.embed(rows)
    if np.isfinite(features).all():
        return feature_rows(features)
    return [feature_rows(row[None])[0] if np.isfinite(row).all() else None for row in features]


_COMPUTATIONS = {"predictions": _predictions, "embeddings": _embeddings}
"""What an operation answers to rows (N, ...) of models of one family: an item for each, under the operation's name."""
_ROUTES = {operation: f"/v1/models/{{ref}}/{operation}" for operation in _COMPUTATIONS}


Head = tuple[Any, ...]


class _Request(NamedTuple):
    services: Services
    principal: Principal
    operation: str
    model: ResolvedModel
    resident: Resident
    name: bytes  # of the model, as JSON


class PredictionWire:
    """Answers what it can of requests, and hands back the rest."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._calls = SingleFlight()
        self._recent: dict[Head, _Request] = {}  # clients send the same head again and again
        self._state: tuple[int, float] = (0, 0.0)  # of the references that `_recent` was made from, and its time
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="predictions")

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> Receive | None:
        """Answer a request and return None; or return how whoever answers it instead is to receive it."""
        began = time.perf_counter()
        if not self._is_of_this_loop():
            return receive
        try:
            length, head = _head(scope)
            request = await self._request(scope, length, head)
            if request is None or not _is_admitted(request.principal, scope["state"]["slot"], length):
                return receive
        except Exception:  # noqa: BLE001 - the endpoint asks once more, and says what is wrong
            return receive
        body, whole = await _body(receive)
        content = await self._content(request, body) if whole else None
        if content is None:
            return _again(body, whole, receive)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"x-request-id", request_id),
            (b"x-content-type-options", b"nosniff"),
            *scope["state"]["slot"].headers(),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        request.services.metrics.request("POST", _ROUTES[request.operation], 200, time.perf_counter() - began)
        return None

    def _is_of_this_loop(self) -> bool:
        """Whether requests may share batches: a server has one event loop, and tests may have several."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = loop
            return self._loop is loop

    async def _request(self, scope: Scope, length: int, head: Head) -> _Request | None:
        """Return what a request asks of which model, by its head where that was understood just now."""
        services: Services = scope["app"].state.services
        if not 0 < length <= min(services.settings.max_json_bytes, MAX_BODY_BYTES):
            return None
        references = services.engine.references
        if not references.is_current:
            await self._calls.run("registry", lambda: refresh(services))
        state = references.generation, references.clock() // RECENT_SECONDS
        if state != self._state or len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
            self._state = state
        request = self._recent.get(head)
        if request is None and (request := await self._understood(scope, services)) is not None:
            if not self._recent:  # models must not be kept in memory by requests of long ago
                asyncio.get_running_loop().call_later(RECENT_SECONDS, self._recent.clear)
            if state == self._state:
                self._recent[head] = request
        return request

    async def _understood(self, scope: Scope, services: Services) -> _Request | None:
        """Return what a request asks of which model; None where it is unusual, or has no key that allows it."""
        headers = dict(scope["headers"])
        *base, ref, operation = scope["path"].split("/")
        is_usual = (
            tuple(base) == _BASE
            and operation in _COMPUTATIONS
            and not scope["query_string"]
            and len(headers) == len(scope["headers"])  # none stands twice
            and headers.get(b"content-type") in _JSON
            and headers.get(b"accept", b"*/*") in _ACCEPTED
            and not any(name in headers for name in _UNUSUAL)
        )
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if not is_usual or scheme.lower() != b"bearer":
            return None
        principal = await self._principal(hash_key(key.strip(b" ")))
        if principal is None or not principal.may("predict"):
            return None
        scope["state"]["slot"].enter(principal)  # before a model is loaded; the endpoint says why where it may not
        model = await self._model(services, principal.project_id, ref)
        if model.deal is not None or not (model.has_heads or operation == "embeddings"):
            return None  # of an alias of several versions, each request is dealt to one of them by the endpoint
        resident = await self._resident(services, model)
        return _Request(services, principal, operation, model, resident, to_json(model.name))

    async def _principal(self, digest: str) -> Principal | None:
        principal = self._authenticator.cached(digest)
        if principal is not None:
            return principal
        return await self._calls.run(digest, lambda: self._authenticator.look_up(digest))

    async def _model(self, services: Services, project_id: str, ref: str) -> ResolvedModel:
        model: ResolvedModel | None = services.engine.references.peek((project_id, ref))
        if model is not None:
            return model
        return await self._calls.run((project_id, ref), lambda: resolve(services, project_id, ref))

    async def _resident(self, services: Services, model: ResolvedModel) -> Resident:
        resident = services.engine.peek(model.name.id)
        if resident is not None:
            return resident
        return await self._calls.run(model.name.id, lambda: load(services, model))

    async def _content(self, request: _Request, body: bytes) -> bytes | None:
        """Return the answer as JSON; None where the endpoint is to say what is wrong."""
        inputs = plain_json.read(body)
        model = request.resident.model
        if inputs is None or len(inputs) > model.rows_at_once:
            return None
        doubts = Doubts()
        try:
            rows = await self._decoded(model, inputs, doubts, len(body))
            items = await self._batcher(request).submit(rows, model)
        except Exception:  # noqa: BLE001 - the endpoint computes it once more, and says what is wrong
            return None
        if None in items:
            return None
        warnings = doubts.warnings() if doubts.any else []
        for warning in warnings:
            request.services.metrics.warning(warning.code)
        parts = request.name, request.operation.encode(), to_json(items), to_json(warnings) if warnings else b"[]"
        return b'{"model":%b,"%b":%b,"warnings":%b}' % parts

    async def _decoded(self, model: LoadedModel, inputs: Rows | list[Any], doubts: Doubts, size: int) -> Rows:
        """Decode on the event loop what is small or quickly read, and in a thread what may hold it up."""
        if isinstance(inputs, np.ndarray):
            with ignore_overflow():
                rows = model.decode_sound(inputs)
            if rows is not None:
                return rows
        if size <= MAX_LOOP_BYTES:
            return _decode(model, inputs, doubts)
        return await asyncio.get_running_loop().run_in_executor(self._executor, _decode, model, inputs, doubts)

    def _batcher(self, request: _Request) -> Batcher:
        batchers = request.resident.batchers
        if request.operation not in batchers:
            batchers[request.operation] = Batcher(
                _COMPUTATIONS[request.operation], self._executor, request.resident.model.rows_at_once
            )
        return batchers[request.operation]


def _decode(model: LoadedModel, inputs: Rows | list[Any], doubts: Doubts) -> Rows:
    with ignore_overflow():
        return model.decode(inputs, doubts)


def _head(scope: Scope) -> tuple[int, Head]:
    """Return the length of a request's body, 0 where it does not say, and all else of its head that may matter."""
    length = 0
    head = [scope["path"], scope["query_string"]]
    for header in scope["headers"]:
        if not length and header[0] == b"content-length" and header[1].isdigit():
            length = int(header[1])
        else:
            head.append(header)
    return length, tuple(head)


def _is_admitted(principal: Principal, slot: Slot, length: int) -> bool:
    """Take a slot, and memory for a body that is not small; False where there is none now. Raises TooManyError."""
    slot.enter(principal)
    return length <= _SMALL_BODY_BYTES or slot.reserve_now(_PARSED_BYTES * length)


async def _body(receive: Receive) -> tuple[bytes, bool]:
    """Return a request's body, and whether it is whole; it is not where the client is gone."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks), False
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks), True


def _again(body: bytes, whole: bool, receive: Receive) -> Receive:
    """Return a function that receives a body once more, and what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": not whole}]
    if not whole:
        messages.append({"type": "http.disconnect"})

    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay
