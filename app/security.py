"""Authentication by API key, and limits on request bodies, for every router made by `secure_router`.

The key and its scopes are checked before the body is read, and the request enters the shares of its key: what may
not be asked, or not now, is never parsed.
"""

import asyncio
import base64
import binascii
import io
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, MutableMapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from cachetools import TTLCache
from fastapi import APIRouter, Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Send

from app.db.session import Database
from app.errors import (
    BadRequestError,
    ErrorItem,
    ForbiddenError,
    GraftworkError,
    Problem,
    UnauthorizedError,
    UnprocessableError,
)
from app.keys.service import SCOPES, Principal, Scope, hash_key, principal_of
from app.keys.usage import KeyUsage
from app.kit import strict_json
from app.kit.downloads import conditional
from app.kit.json_outline import outline, parsed_bytes
from app.kit.streaming import refuse_compressed, refuse_too_long, too_large
from app.shares.turns import Turns

Value = TypeVar("Value")

_INPUT_PATHS = ("/predictions", "/embeddings", "/infer", "/v1/heads", "/predict", "/webhook")
_MAX_SMALL_BODY_BYTES = 1 << 20
_MAX_INLINE_JSON_BYTES = 1 << 15  # larger bodies are parsed in a thread, so that the event loop stays free
_PART_BYTES = 1 << 14
_CACHE_SECONDS = 4.0  # a look-up, and what was understood of a request by then, may take some of the rest
_CACHE_SIZE = 10_000
_MAX_SHOWN = 200
_MAX_ERRORS = 20


class Authenticator:
    """Finds the owner of an API key by its sha256. Valid keys are cached, so a revocation takes up to 5 s."""

    def __init__(self, database: Database, usage: KeyUsage) -> None:
        self._database = database
        self._usage = usage
        self._cache: TTLCache[str, Principal] = TTLCache(_CACHE_SIZE, _CACHE_SECONDS)
        self._lock = threading.Lock()

    def cached(self, digest: str) -> Principal | None:
        """Return the owner of a key from the cache."""
        with self._lock:
            return self._cache.get(digest)

    def look_up(self, digest: str) -> Principal | None:
        """Return the owner of a key from the database; None for an unknown, revoked or expired key."""
        with self._database.reading() as session:
            principal = principal_of(session, digest)
        if principal is not None:
            self._usage.note(principal.key_id)
            with self._lock:
                self._cache[digest] = principal
        return principal

    async def authenticate(self, request: Request) -> Principal:
        """Return the owner of the key in the request's Authorization header.

        Raises:
            UnauthorizedError: there is no key, or it is not valid.
        """
        key = _key_of(request)
        if not key:
            raise UnauthorizedError
        digest = hash_key(key)
        principal = self.cached(digest) or await run_in_threadpool(self.look_up, digest)
        if principal is None:
            raise UnauthorizedError
        return principal


def _key_of(request: Request) -> bytes:
    """Return the key that a request shows: as a bearer token or, of some protocols, as the password of HTTP Basic.

    Basic is no way to our own routes: browsers send it by themselves, whoever makes them ask.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    shown = value.strip(" ").encode("latin-1")  # undoes the header's decoding, back to the bytes sent
    if scheme.lower() == "bearer":
        return shown
    if scheme.lower() == "basic" and request.scope["path"].startswith(request.app.state.basic_prefixes):
        with suppress(binascii.Error):
            return base64.b64decode(shown, validate=True).partition(b":")[2]
    return b""


class StrictRequest(Request):
    """A request with a limited body and strict JSON decoding, whose memory is reserved before it is taken."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes; one that has been read in small parts, between which others have their turn."""
        async for part in super().stream():
            for start in range(0, len(part), _PART_BYTES) if hasattr(self, "_body") else ():
                yield part[start : start + _PART_BYTES]
                await asyncio.sleep(0)
            if not (hasattr(self, "_body") and part):
                yield part

    async def reserve(self, count: int) -> None:
        """Reserve so many bytes of memory for what the body becomes. Raises TooLargeError, UnavailableError."""
        await self.state.slot.reserve(count)

    async def in_thread(self, read: Callable[..., Value], *arguments: Any) -> Value:
        """Return what `read` does of a large body, in a thread; few at a time, so that the event loop stays free.

        Whose turn it is goes round the projects.
        """
        turns: Turns = self.app.state.services.shares.reading
        project_id: str = self.state.principal.project_id

        def in_turn() -> Value:
            with turns.turn(project_id, goes_on=True):
                return read(*arguments)

        return await run_in_threadpool(in_turn)

    async def body(self) -> bytes:
        """Return the whole body, within the limit."""
        if not hasattr(self, "_body"):
            self._body = await self._bounded_body(self._max_body_bytes())
        return self._body

    def _max_body_bytes(self) -> int:
        """Return the limit: inputs to predict may be large, all other JSON is small."""
        max_bytes: int = self.app.state.services.settings.max_json_bytes
        return max_bytes if self.scope["path"].endswith(_INPUT_PATHS) else min(max_bytes, _MAX_SMALL_BODY_BYTES)

    async def _bounded_body(self, limit: int) -> bytes:
        """Read the body. Raises TooLargeError if it is announced as longer than `limit` bytes, or proves to be."""
        refuse_compressed(self)
        refuse_too_long(self, limit)
        announced = self.headers.get("content-length", "")
        reserved = int(announced) if announced.isdecimal() else 0
        await self.reserve(reserved)
        body, size = io.BytesIO(), 0  # whose value is no copy; a list of small chunks would leave its memory in pieces
        if 0 < reserved <= limit:  # the whole at once: what grows is copied
            body.seek(reserved - 1)
            body.write(b"\0")
            body.seek(0)
        try:
            async for chunk in self.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                if size > reserved:
                    await self.reserve(size - reserved)
                    reserved = size
                body.write(chunk)
        except ClientDisconnect:
            msg = "The connection ended before the body did."
            raise BadRequestError(msg, code="aborted") from None
        body.truncate(size)
        return body.getvalue()

    async def json(self) -> Any:
        """Return the body as strict JSON."""
        try:
            body = await self.body()
            if len(body) <= _MAX_INLINE_JSON_BYTES:
                await self.reserve(outline(body).parsed_bytes(body))
                return strict_json.loads(body)
            await self.reserve(await self.in_thread(parsed_bytes, body))
            return await self.in_thread(strict_json.loads, body)
        except strict_json.StrictJsonError as error:
            detail = {"type": "json_invalid", "loc": ("body",), "msg": str(error)}
            raise RequestValidationError([detail]) from None


class SecureRoute(APIRoute):
    """A route that authenticates a request before anything else, and refuses query parameters that it does not have."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind authentication, with strict JSON bodies."""
        handler = super().get_route_handler()
        parameters, scopes = _query_parameters(self.dependant), _scopes(self.dependant)

        async def secured(request: Request) -> Response:
            authenticator: Authenticator = request.app.state.authenticator
            principal = request.state.principal = await authenticator.authenticate(request)
            for scope in scopes:
                _check_scope(principal, scope)
            request.state.slot.enter(principal)
            _refuse_nul(request)
            _refuse_unknown_parameters(request, parameters)
            try:
                return conditional(request, await handler(StrictRequest(request.scope, request.receive)))
            except GraftworkError as error:
                # Its frames hold the body, maybe until garbage is collected, when its memory is given to others.
                error.__context__ = error.__cause__ = None
                raise error.with_traceback(None) from None
            except HTTPException as error:
                # FastAPI turns every error while reading a body into a plain 400: raise the original one.
                if isinstance(error.__cause__, GraftworkError | RequestValidationError):
                    raise error.__cause__ from None
                raise

        return secured


def refuse_unknown_parameters(routes: Iterable[BaseRoute]) -> None:
    """Let open routes, such as health and the documentation, refuse query parameters as a `SecureRoute` does."""
    for route in routes:
        if isinstance(route, Route) and not isinstance(route, SecureRoute):
            route.app = _without_unknown_parameters(route)


def _without_unknown_parameters(route: Route) -> ASGIApp:
    parameters = _query_parameters(route.dependant) if isinstance(route, APIRoute) else []
    answer = route.app

    async def checked(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        _refuse_unknown_parameters(Request(scope), parameters)
        await answer(scope, receive, send)

    return checked


def _query_parameters(dependant: Dependant) -> list[str]:
    """Return the names of the query parameters that a route and its dependencies declare, sorted."""
    nested = (name for dependency in dependant.dependencies for name in _query_parameters(dependency))
    return sorted({*(field.alias for field in dependant.query_params), *nested})


def _scopes(dependant: Dependant) -> list[Scope]:
    """Return the scopes that a route needs: those of its dependencies, `CanRead` and the like."""
    own = [scope for scope, check in _CHECKS.items() if dependant.call is check]
    return own + [scope for dependency in dependant.dependencies for scope in _scopes(dependency)]


def _refuse_unknown_parameters(request: Request, known: list[str]) -> None:
    """Raise UnprocessableError for a query parameter that the route does not declare, naming the nearest that it does.

    A filter with a typing error would otherwise be no filter at all.
    """
    errors = []
    for name in dict.fromkeys(request.query_params):
        if name not in known:
            nearest = get_close_matches(name, known, 1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            listed = f"it has {', '.join(known)}" if known else "it has none"
            msg = f"this request has no such query parameter: {hint}{listed}"
            errors.append(ErrorItem(loc=["query", name[:_MAX_SHOWN]], msg=msg))
    if errors:
        msg = f"query.{errors[0].loc[1]}: {errors[0].msg}"
        raise UnprocessableError(msg, code="unknown_parameter", errors=errors[:_MAX_ERRORS])


def _refuse_nul(request: Request) -> None:
    """Raise BadRequestError for a NUL in the URL: no name or id has one, and PostgreSQL cannot store it."""
    if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        msg = "The URL holds a NUL."
        raise BadRequestError(msg)


_bearer = HTTPBearer(
    auto_error=False, description="An API key, as `graftwork keys create` or `graftwork server keys create` prints it."
)


def operation_id(route: APIRoute) -> str:
    """Return the name of an endpoint's function, by which generated clients call the operation: verb_noun, unique."""
    return route.name


def secure_router(prefix: str, tag: str) -> APIRouter:
    """Return a router all of whose routes need an API key; routers of resources are made by this alone."""
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "content": {"application/problem+json": {}}} for status in (401, 403, 422)
    }
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=SecureRoute,
        responses=errors,
        dependencies=[Depends(_bearer)],
        generate_unique_id_function=operation_id,
    )


def _check_scope(principal: Principal, scope: Scope) -> None:
    if not principal.may(scope):
        msg = f"This key lacks the scope {scope!r}; it has {sorted(principal.scopes)}."
        raise ForbiddenError(msg)


def _requires(scope: Scope) -> Callable[[Request], Principal]:
    def check(request: Request) -> Principal:
        principal: Principal = request.state.principal
        _check_scope(principal, scope)  # once more: `SecureRoute` has done it before the body was read
        return principal

    return check


_CHECKS: dict[Scope, Callable[[Request], Principal]] = {scope: _requires(scope) for scope in SCOPES}
CanRead = Annotated[Principal, Depends(_CHECKS["read"])]
CanWrite = Annotated[Principal, Depends(_CHECKS["write"])]
CanPredict = Annotated[Principal, Depends(_CHECKS["predict"])]
CanAdminister = Annotated[Principal, Depends(_CHECKS["admin"])]
