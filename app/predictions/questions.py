"""What the heads of requests for predictions and embeddings ask, of which model, for whom.

Clients send the same head again and again: what it was understood as is kept for some seconds, and holds while its key
is what it was, and the registry. So long may a model stay in memory that the engine has dropped.
"""

import asyncio
import time
from typing import Any, NamedTuple

from pydantic_core import to_json
from starlette.datastructures import State
from starlette.types import Scope

from app.dependencies import Services
from app.keys.service import Principal, hash_key
from app.kit.single_flight import SingleFlight
from app.predictions.computations import COMPUTATIONS
from app.predictions.resolution import ResolvedModel, load, refresh, resolve
from app.security import Authenticator
from app.serving.engine import Resident

RECENT_SECONDS = 5.0  # after which heads are understood anew: models must not stay in memory for those of long ago
KEY_SECONDS = 1.0  # for which an owner of a key that was known is taken to be known
_MAX_RECENT = 4096
_JSON = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")
_ACCEPTED = (b"*/*", b"application/json", b"application/json, text/plain, */*", b"application/json, */*")
_BASE = ("", "v1", "models")
_TRACES = (b"traceparent", b"tracestate")  # of each request its own; they are for lines of log, and it has none
_UNUSUAL = (b"content-encoding", b"transfer-encoding", b"expect")

Head = tuple[Any, ...]


class Question(NamedTuple):
    """What the head of a request asks, of which model, for whom."""

    principal: Principal
    digest: str  # of the key
    operation: str
    model: ResolvedModel
    resident: Resident
    name: bytes  # of the model, as JSON
    generation: int  # of the references that it was understood by


class Questions:
    """Understands heads, and remembers them. Belongs to one event loop."""

    def __init__(self, application: State, authenticator: Authenticator) -> None:
        self._application = application
        self._authenticator = authenticator
        self._calls = SingleFlight()
        self._recent: dict[Head, Question] = {}
        self._owners: dict[str, tuple[float, Principal | None]] = {}  # of keys, with when each was known

    @property
    def _services(self) -> Services:
        services: Services = self._application.services
        return services

    def recall(self, head: Head) -> Question | None:
        """Return what a head was understood as, where its key, its reference and its model are what they were."""
        question, references = self._recent.get(head), self._services.engine.references
        if question is None or question.generation != references.generation or not references.is_current:
            return None
        return question if self._owner(question.digest) == question.principal else None

    def _forget(self) -> None:
        self._recent.clear()
        self._owners.clear()

    def _owner(self, digest: str) -> Principal | None:
        """Return the owner of a key as it was known within `KEY_SECONDS`."""
        now = time.monotonic()
        seen_at, owner = self._owners.get(digest, (0.0, None))
        if now - seen_at > KEY_SECONDS:
            owner = self._authenticator.cached(digest)
            if owner is not None:
                self._owners[digest] = now, owner
        return owner

    async def understand(self, scope: Scope, head: Head) -> Question | None:
        """Return what a request asks of which model; None where it is unusual, or has no key that allows it.

        It takes a slot of the key's share. Raises as that, as a look-up or as loading does.
        """
        services = self._services
        references = services.engine.references
        if not references.is_current:
            await self._calls.run("registry", lambda: refresh(services))
        question = self.recall(head)
        if question is None and (question := await self._understood(scope)) is not None:
            key = question.principal.project_id, scope["path"].split("/")[-2]
            if references.is_settled(key, question.generation):
                self._remember(head, question)
        return question

    def _remember(self, head: Head, question: Question) -> None:
        """Keep what holds until the registry changes."""
        if len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
        if not self._recent:
            asyncio.get_running_loop().call_later(RECENT_SECONDS, self._forget)
        self._recent[head] = question

    async def _understood(self, scope: Scope) -> Question | None:
        """Return what a request asks of which model; None where it is unusual, or has no key that allows it."""
        headers = dict(scope["headers"])
        *base, ref, operation = scope["path"].split("/")
        is_usual = (
            tuple(base) == _BASE
            and operation in COMPUTATIONS
            and not scope["query_string"]
            and len(headers) == len(scope["headers"])  # none stands twice
            and headers.get(b"content-type") in _JSON
            and headers.get(b"accept", b"*/*") in _ACCEPTED
            and not any(name in headers for name in _UNUSUAL)
        )
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if not is_usual or scheme.lower() != b"bearer":
            return None
        digest = hash_key(key.strip(b" "))
        principal = await self._principal(digest)
        if principal is None or not principal.may("predict"):
            return None
        scope["state"]["slot"].enter(principal)  # before a model is loaded; the endpoint says why where it may not
        generation = self._services.engine.references.generation
        model = await self._model(principal.project_id, ref)
        if model.deal is not None or not (model.has_heads or operation == "embeddings"):
            return None  # of an alias of several versions, each request is dealt to one of them by the endpoint
        resident = await self._resident(model)
        return Question(principal, digest, operation, model, resident, to_json(model.name), generation)

    async def _principal(self, digest: str) -> Principal | None:
        principal = self._authenticator.cached(digest)
        if principal is not None:
            return principal
        return await self._calls.run(digest, lambda: self._authenticator.look_up(digest))

    async def _model(self, project_id: str, ref: str) -> ResolvedModel:
        services = self._services
        model: ResolvedModel | None = services.engine.references.peek((project_id, ref))
        if model is not None:
            return model
        return await self._calls.run((project_id, ref), lambda: resolve(services, project_id, ref))

    async def _resident(self, model: ResolvedModel) -> Resident:
        services = self._services
        resident = services.engine.peek(model.name.id)
        if resident is not None:
            return resident
        return await self._calls.run(model.name.id, lambda: load(services, model))


def head_of(scope: Scope) -> tuple[int, str, Head]:
    """Return the length of a request's body, 0 where it does not say; its id; and all of its head that may matter."""
    length, client_id = 0, b""
    head = [scope["path"], scope["query_string"]]
    for header in scope["headers"]:
        name = header[0]
        if name == b"content-length" and not length and header[1].isdigit():
            length = int(header[1])
        elif name == b"x-request-id" and not client_id:
            client_id = header[1]
        elif name not in _TRACES:
            head.append(header)
    return length, client_id.decode("latin-1"), tuple(head)
