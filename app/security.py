"""Authentication and bounded bodies: every route of a router made here needs an API key with the right scope.

The key is checked before the body is read, so that strangers cannot make the service parse anything.
"""

import threading
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from cachetools import TTLCache
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.db.session import Database
from app.errors import BadRequestError, ForbiddenError, GraftworkError, Problem, UnauthorizedError
from app.keys.service import Principal, Scope, hash_key, principal_of
from app.kit import strict_json
from app.kit.streaming import refuse_announced, refuse_encoded, too_large

_ROWS = ("/predictions", "/embeddings")
_SMALL_BODY = 1 << 20
_PARSED_AT_ONCE = 1 << 18
_CACHE_SECONDS = 5.0
_CACHE_SIZE = 10_000


class Authenticator:
    """Looks keys up by their sha256 and caches valid ones for some seconds, the longest delay of a revocation."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: TTLCache[str, Principal] = TTLCache(_CACHE_SIZE, _CACHE_SECONDS)
        self._lock = threading.Lock()

    def cached(self, digest: str) -> Principal | None:
        """Return the owner of a key that was looked up in the last seconds."""
        with self._lock:
            return self._cache.get(digest)

    def look_up(self, digest: str) -> Principal | None:
        """Return the owner of a key from the database, or None for a key that is unknown, revoked or expired."""
        with self._database.reading() as session:
            principal = principal_of(session, digest)
        if principal is not None:
            with self._lock:
                self._cache[digest] = principal
        return principal

    async def authenticate(self, request: Request) -> Principal:
        """Return the owner of the key that the request carries.

        Raises:
            UnauthorizedError: no key, or not a valid one.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip(" ")
        if scheme.lower() != "bearer" or not key:
            raise UnauthorizedError
        digest = hash_key(key.encode("latin-1"))  # the bytes as they came; keys are UTF-8
        principal = self.cached(digest) or await run_in_threadpool(self.look_up, digest)
        if principal is None:
            raise UnauthorizedError
        return principal


class _StrictRequest(Request):
    """A request whose body is bounded, and whose JSON is decoded strictly."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await self._bounded_body(self._max_body_bytes())
        return self._body

    def _max_body_bytes(self) -> int:
        """Rows to predict may be many; whatever else is sent as JSON is small."""
        largest: int = self.app.state.services.settings.max_json_bytes
        return largest if self.scope["path"].endswith(_ROWS) else min(largest, _SMALL_BODY)

    async def _bounded_body(self, limit: int) -> bytes:
        """Read at most `limit` bytes; announced lengths are refused at once, others when they are passed."""
        refuse_encoded(self)
        refuse_announced(self, limit)
        chunks, size = [], 0
        try:
            async for chunk in self.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                chunks.append(chunk)
        except ClientDisconnect:
            msg = "The connection ended before the body did."
            raise BadRequestError(msg, code="aborted") from None
        return b"".join(chunks)

    async def json(self) -> Any:
        try:
            body = await self.body()
            if len(body) <= _PARSED_AT_ONCE:
                return strict_json.loads(body)
            return await run_in_threadpool(strict_json.loads, body)  # others are answered meanwhile
        except strict_json.StrictJsonError as error:
            detail = {"type": "json_invalid", "loc": ("body",), "msg": str(error)}
            raise RequestValidationError([detail]) from None


class SecureRoute(APIRoute):
    """A route that authenticates before anything else happens."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()

        async def secured(request: Request) -> Response:
            authenticator: Authenticator = request.app.state.authenticator
            request.state.principal = await authenticator.authenticate(request)
            _refuse_nul(request)
            try:
                return await handler(_StrictRequest(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI hides whatever reading a body raises behind a 400 of its own.
                if isinstance(error.__cause__, GraftworkError | RequestValidationError):
                    raise error.__cause__ from None
                raise

        return secured


def _refuse_nul(request: Request) -> None:
    """No name or id of anything holds a NUL, and PostgreSQL takes none."""
    if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        msg = "The URL holds a NUL."
        raise BadRequestError(msg)


_bearer = HTTPBearer(auto_error=False, description="An API key, as printed by `graftwork keys create`.")


def secure_router(prefix: str, tag: str) -> APIRouter:
    """Return a router whose routes all need a key; the only way that routers are made here."""
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "content": {"application/problem+json": {}}} for status in (401, 403, 422)
    }
    return APIRouter(
        prefix=prefix, tags=[tag], route_class=SecureRoute, responses=errors, dependencies=[Depends(_bearer)]
    )


def _requires(scope: Scope) -> Callable[[Request], Principal]:
    def check(request: Request) -> Principal:
        principal: Principal = request.state.principal
        if not principal.may(scope):
            msg = f"This key lacks the scope {scope!r}; it has {sorted(principal.scopes)}."
            raise ForbiddenError(msg)
        return principal

    return check


CanRead = Annotated[Principal, Depends(_requires("read"))]
CanWrite = Annotated[Principal, Depends(_requires("write"))]
CanPredict = Annotated[Principal, Depends(_requires("predict"))]
CanAdminister = Annotated[Principal, Depends(_requires("admin"))]
