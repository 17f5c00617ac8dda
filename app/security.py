"""API keys, scopes and projects; every route of a router made here is closed until a key opens it.

The key is checked before the body is read, so that strangers cannot make the service parse anything.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal, get_args

from cachetools import TTLCache
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.db.session import Database
from app.db.tables import ApiKeyRow, ProjectRow
from app.errors import BadRequestError, ForbiddenError, GraftworkError, Problem, UnauthorizedError
from app.kit import strict_json
from app.kit.ids import new_id
from app.kit.streaming import refuse_announced, refuse_encoded, too_large

Scope = Literal["read", "write", "predict", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MIN_KEY_LENGTH = 32
_ROWS = ("/predictions", "/embeddings")
_SMALL_BODY = 1 << 20
_PARSED_AT_ONCE = 1 << 18
_CACHE_SECONDS = 5.0
_CACHE_SIZE = 10_000


class Principal(BaseModel):
    """Who asks: a key, the project that it belongs to, and what it may do there."""

    key_id: str
    project_id: str
    scopes: frozenset[Scope]


class Authenticator:
    """Looks keys up by their sha256 and remembers valid ones for a few seconds (a revocation's longest delay)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: TTLCache[str, Principal] = TTLCache(_CACHE_SIZE, _CACHE_SECONDS)
        self._lock = threading.Lock()

    def remembered(self, digest: str) -> Principal | None:
        """Return the principal without asking the database, if it was seen lately."""
        with self._lock:
            return self._known.get(digest)

    def look_up(self, digest: str) -> Principal | None:
        """Return the principal of a key, or None for a key that is unknown, revoked or expired."""
        with self._database.reading() as session:
            row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.sha256 == digest))
        now = time.time()
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
            return None
        principal = Principal(key_id=row.id, project_id=row.project_id, scopes=frozenset(row.scopes))
        with self._lock:
            self._known[digest] = principal
        return principal

    async def authenticate(self, request: Request) -> Principal:
        """Return who sent the request.

        Raises:
            UnauthorizedError: no key, or not a valid one.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip(" ")
        if scheme.lower() != "bearer" or not key:
            raise UnauthorizedError
        digest = hash_key(key.encode("latin-1"))  # the bytes as they came; keys are UTF-8
        principal = self.remembered(digest) or await run_in_threadpool(self.look_up, digest)
        if principal is None:
            raise UnauthorizedError
        return principal


class _StrictRequest(Request):
    """A request whose body is bounded, and whose JSON is decoded strictly."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await self._bounded_body(self._most_bytes())
        return self._body

    def _most_bytes(self) -> int:
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
        if scope not in principal.scopes and "admin" not in principal.scopes:
            msg = f"This key lacks the scope {scope!r}; it has {sorted(principal.scopes)}."
            raise ForbiddenError(msg)
        return principal

    return check


Reader = Annotated[Principal, Depends(_requires("read"))]
Writer = Annotated[Principal, Depends(_requires("write"))]
Predictor = Annotated[Principal, Depends(_requires("predict"))]
Admin = Annotated[Principal, Depends(_requires("admin"))]


def hash_key(key: bytes) -> str:
    """Return what is kept of a key. Keys are long and random, so a plain sha256 is enough."""
    return hashlib.sha256(key).hexdigest()


def create_key(session: Session, project: str, name: str, scopes: list[Scope], key: str | None = None) -> str:
    """Add a key to a project (made if need be) and return it; it is not shown again.

    Raises:
        ValueError: a given key is too short.
    """
    secret = (key or f"gw_{secrets.token_urlsafe(32)}").strip()
    if len(secret) < MIN_KEY_LENGTH:
        msg = f"A key has at least {MIN_KEY_LENGTH} characters."
        raise ValueError(msg)
    owner = session.scalar(select(ProjectRow).where(ProjectRow.name == project))
    if owner is None:
        owner = ProjectRow(id=new_id("prj"), name=project, created_at=time.time())
        session.add(owner)
        session.flush()
    row = ApiKeyRow(
        id=new_id("key"),
        project_id=owner.id,
        name=name,
        sha256=hash_key(secret.encode()),
        scopes=list(scopes),
        created_at=time.time(),
        expires_at=None,
        revoked_at=None,
    )
    session.add(row)
    return secret
