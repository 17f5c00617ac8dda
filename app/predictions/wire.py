"""The short way of predictions and embeddings: sound JSON requests for models in memory, answered in batches.

It stands before the application and answers nothing but 200: whatever is unusual in a request, be it an error or a form
of the body that only the endpoints read, it leaves to them, with the body as it came. So there is one place for every
other answer, and this one can be short: no framework, no thread and no line of log for a request. One whose head is
known the HTTP protocol takes to it directly (`recall`), without even a task of the event loop.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from pydantic_core import to_json
from starlette.datastructures import State
from starlette.types import Message, Receive, Scope, Send

from app.dependencies import Services
from app.errors import TooManyError
from app.keys.service import Principal
from app.kit.ids import request_id
from app.ml.interfaces.doubts import Doubts
from app.predictions.bodies import plain_json
from app.predictions.computations import COMPUTATIONS
from app.predictions.deadlines import arrival, in_time
from app.predictions.questions import Question, Questions, head_of
from app.predictions.service import ignore_overflow
from app.security import Authenticator
from app.serving.batching import Batcher, Receiver
from app.serving.engine import LoadedModel, Rows
from app.shares.admission import Slot

MAX_BODY_BYTES = 1 << 20  # larger ones would hold up the event loop for milliseconds
MAX_LOOP_BYTES = 1 << 12  # of a body whose rows are read one by one; a picture may unpack to a thousand times as much
_SMALL_BODY_BYTES = 1 << 12
_PARSED_BYTES = 8  # for each byte of a body of numbers or of strings, with what parses it
_ROUTES = {operation: f"/v1/models/{{ref}}/{operation}" for operation in COMPUTATIONS}

Headers = list[tuple[bytes, bytes]]
Take = Callable[[Sequence[Any], BaseException | None], None]


class PredictionWire:
    """Answers what it can of requests, and hands back the rest."""

    def __init__(self, application: State, authenticator: Authenticator) -> None:
        self._application = application
        self._questions = Questions(application, authenticator)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="predictions")

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> Receive | None:
        """Answer a request and return None; or return how whoever answers it instead is to receive it."""
        began = time.perf_counter()
        arrival(scope)
        if not self._is_of_this_loop():
            return receive
        try:
            length, _, head = head_of(scope)
            question = await self._questions.understand(scope, head) if self._is_of_good_length(length) else None
            if question is None or not _is_admitted(question.principal, scope["state"]["slot"], length):
                return receive
        except Exception:  # noqa: BLE001 - the endpoint asks once more, and says what is wrong
            return receive
        body, whole = await _body(receive)
        content = await self._content_in_time(scope, question, body) if whole else None
        if content is None:
            return _again(body, whole, receive)
        headers = _headers(content, request_id, scope["state"]["slot"])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        self.count(question, time.perf_counter() - began)
        return None

    def recall(self, scope: Scope) -> "Exchange | None":
        """Return the exchange for a request whose head was understood just now; None where `answer` is to be asked.

        It holds what the request takes of the shares until `Exchange.leave`. Call it on the event loop.
        """
        if scope["method"] != "POST" or asyncio.get_running_loop() is not self._loop:
            return None
        length, client_id, head = head_of(scope)
        question = self._questions.recall(head) if self._is_of_good_length(length) else None
        slot = None if question is None else self._services.shares.arrive()
        if question is None or slot is None:
            return None
        try:
            if _is_admitted(question.principal, slot, length):
                arrival(scope)
                return Exchange(self, question, slot, request_id(client_id).encode())
        except TooManyError:
            pass
        slot.leave()
        return None

    @property
    def seconds(self) -> float:
        """How long an answer may take."""
        return self._services.settings.prediction_seconds

    def count(self, question: Question, seconds: float) -> None:
        """Count a request that was answered."""
        self._services.metrics.request("POST", _ROUTES[question.operation], 200, seconds)

    @property
    def _services(self) -> Services:
        services: Services = self._application.services
        return services

    def _is_of_this_loop(self) -> bool:
        """Whether requests may share batches: a server has one event loop, and tests may have several."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = loop
            return self._loop is loop

    def _is_of_good_length(self, length: int) -> bool:
        return 0 < length <= min(self._services.settings.max_json_bytes, MAX_BODY_BYTES)

    async def _content_in_time(self, scope: Scope, question: Question, body: bytes) -> bytes | None:
        try:
            return await in_time(scope, self.seconds, self._content(question, body))
        except TimeoutError:
            return None

    async def _content(self, question: Question, body: bytes) -> bytes | None:
        """Return the answer as JSON; None where the endpoint is to say what is wrong."""
        model, doubts = question.resident.model, Doubts()
        try:
            inputs = _inputs(model, body)
            if inputs is None:
                return None
            rows = await self._decoded(model, inputs, doubts, len(body))
            items = await self._batcher(question).submit(rows, model)
        except Exception:  # noqa: BLE001 - the endpoint computes it once more, and says what is wrong
            return None
        return self.json(question, items, doubts)

    async def _decoded(self, model: LoadedModel, inputs: Rows | list[Any], doubts: Doubts, size: int) -> Rows:
        rows = _decoded_quickly(model, inputs, doubts, size)
        if rows is not None:
            return rows
        return await asyncio.get_running_loop().run_in_executor(self._executor, _decode, model, inputs, doubts)

    def submit(self, question: Question, body: bytes, doubts: Doubts, receiver: Receiver) -> bool:
        """Let an item for each row be computed; False for a body that is not sound, or takes long to read."""
        model = question.resident.model
        try:
            inputs = _inputs(model, body)
            rows = None if inputs is None else _decoded_quickly(model, inputs, doubts, len(body))
        except Exception:  # noqa: BLE001 - as above
            return False
        if rows is not None:
            self._batcher(question).submit_for(receiver, rows, model)
        return rows is not None

    def json(self, question: Question, items: Sequence[Any], doubts: Doubts) -> bytes | None:
        """Return an answer; None where the endpoint is to say what is wrong with an item."""
        if None in items:
            return None
        warnings = doubts.warnings() if doubts.any else []
        for warning in warnings:
            self._services.metrics.warning(warning.code)
        parts = question.name, question.operation.encode(), to_json(items), to_json(warnings) if warnings else b"[]"
        return b'{"model":%b,"%b":%b,"warnings":%b}' % parts

    def _batcher(self, question: Question) -> Batcher:
        batchers = question.resident.batchers
        if question.operation not in batchers:
            batchers[question.operation] = Batcher(
                COMPUTATIONS[question.operation], self._executor, question.resident.model.rows_at_once
            )
        return batchers[question.operation]


class Exchange:
    """A request that is answered without a task for it: from its head, through its body, to its answer."""

    __slots__ = ("_began", "_doubts", "_id", "_question", "_slot", "_take", "_wire")

    def __init__(self, wire: PredictionWire, question: Question, slot: Slot, request_id: bytes) -> None:
        self._began = time.perf_counter()
        self._take: Take | None = None  # whom the answer is for
        self._wire = wire
        self._question = question
        self._slot = slot
        self._id = request_id
        self._doubts = Doubts()

    def submit(self, body: bytes, take: Take) -> bool:
        """Let the answer be computed; False where `PredictionWire.answer` is to be asked instead."""
        self._take = take
        return self._wire.submit(self._question, body, self._doubts, self)

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for the answer."""
        return self._take is not None

    def receive(self, answers: Sequence[Any], error: BaseException | None) -> None:
        """Hand on what was computed."""
        assert self._take is not None  # it is waiting
        self._take(answers, error)

    @property
    def is_late(self) -> bool:
        """Whether the answer would be of no more use: the endpoint says so."""
        return time.perf_counter() - self._began > self._wire.seconds

    def response(self, items: Sequence[Any]) -> tuple[Headers, bytes] | None:
        """Return the headers and the content of the answer, and count it; None where `answer` is to be asked."""
        try:
            content = self._wire.json(self._question, items, self._doubts)
        except Exception:  # noqa: BLE001 - the endpoint computes it once more, and says what is wrong
            return None
        if content is None:
            return None
        self._wire.count(self._question, time.perf_counter() - self._began)
        return _headers(content, self._id, self._slot), content

    def leave(self) -> None:
        """Give back what the request holds; what is computed for it goes nowhere."""
        self._take = None
        self._slot.leave()


def _headers(content: bytes, request_id: bytes, slot: Slot) -> Headers:
    return [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"x-request-id", request_id),
        (b"x-content-type-options", b"nosniff"),
        *slot.headers(),
    ]


def _inputs(model: LoadedModel, body: bytes) -> Rows | list[Any] | None:
    """Return the inputs of a body; None where it is unusual, or has more rows than are computed at once."""
    inputs = plain_json.read(body)
    return None if inputs is None or len(inputs) > model.rows_at_once else inputs


def _decoded_quickly(model: LoadedModel, inputs: Rows | list[Any], doubts: Doubts, size: int) -> Rows | None:
    """Decode what is small or quickly read; None for what may hold up the event loop."""
    if isinstance(inputs, np.ndarray):
        with ignore_overflow():
            rows = model.decode_sound(inputs)
        if rows is not None:
            return rows
    return _decode(model, inputs, doubts) if size <= MAX_LOOP_BYTES else None


def _decode(model: LoadedModel, inputs: Rows | list[Any], doubts: Doubts) -> Rows:
    with ignore_overflow():
        return model.decode(inputs, doubts)


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
