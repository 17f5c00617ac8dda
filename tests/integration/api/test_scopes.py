"""Which key opens which route: every route with every scope, and keys that are no longer valid."""

import re
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app import security
from app.db.session import Database
from app.db.tables import ApiKeyRow
from app.keys.service import SCOPES, Scope, hash_key
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.servers import wait_until

from .test_routes import body_for, closed

ANSWERING = ("predictions", "embeddings", "generations")
pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


def scope_of(method: str, path: str) -> Scope:
    """What a route needs, by what it does: said here once more, from the reference alone."""
    if path == "/metrics" or path.startswith(("/v1/admin/", "/v1/keys")):
        return "admin"  # figures and jobs of all projects, and who may do what
    if path == "/label-studio/{ref}/webhook":
        return "write"
    if path.rsplit("/", 1)[-1] in ANSWERING or path.startswith(("/v2", "/openai/", "/label-studio/")):
        return "predict"
    return "read" if method == "GET" or path.endswith("/previews") else "write"


def asked(app: FastAPI, key: str) -> Iterator[tuple[str, str, Scope, int, str]]:
    """Every closed route, what it needs, and how it answers the key."""
    client = Http(app, key)
    for method, path in closed(app):
        answer = client.request(method, re.sub(r"\{\w+\}", "x", path), **body_for(path, method))
        yield method, path, scope_of(method, path), answer.status_code, answer.text


def test_every_scope_is_needed_somewhere(app: FastAPI) -> None:
    assert {scope_of(method, path) for method, path in closed(app)} == set(SCOPES)


@pytest.mark.parametrize("scope", ["read", "write", "predict"])
def test_a_key_with_one_scope_opens_the_routes_of_that_scope_alone(
    app: FastAPI, make_key: MakeKey, scope: Scope
) -> None:
    for method, path, needed, status, text in asked(app, make_key(scopes=(scope,))):
        assert (status != 403) == (needed == scope), (method, path, status)
        assert status != 401, (method, path)
        assert (status == 403) == ("lacks the scope" in text), (method, path)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_with_all_other_scopes_does_not_open_a_route(app: FastAPI, make_key: MakeKey, scope: Scope) -> None:
    """But for the scope admin, which opens every route by itself."""
    others: tuple[Scope, ...] = tuple(other for other in SCOPES if other not in (scope, "admin"))
    for method, path, needed, status, _ in asked(app, make_key(scopes=others)):
        assert (status == 403) == (needed not in others), (method, path, status)


def test_the_scope_admin_alone_opens_every_route(app: FastAPI, make_key: MakeKey) -> None:
    for method, path, _, status, _ in asked(app, make_key(scopes=("admin",))):
        assert status not in (401, 403), (method, path)


# ---- keys that are no longer valid ----------------------------------------------------------------------------------


def change(database: Database, key: str, **values: float | None) -> None:
    with database.writing() as session:
        session.execute(update(ApiKeyRow).where(ApiKeyRow.sha256 == hash_key(key.encode())).values(**values))


@pytest.mark.parametrize("values", [{"revoked_at": time.time() - 1}, {"expires_at": time.time() - 1}])
def test_a_revoked_or_expired_key_opens_nothing(
    app: FastAPI, database: Database, make_key: MakeKey, values: dict[str, float | None]
) -> None:
    key = make_key()
    change(database, key, **values)
    for method, path, _, status, _ in asked(app, key):
        assert status == 401, (method, path)


def test_a_key_that_expires_later_is_valid(app: FastAPI, database: Database, make_key: MakeKey) -> None:
    key = make_key()
    change(database, key, expires_at=time.time() + 3600)
    assert Http(app, key).get("/v1/jobs").status_code == 200


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_key_in_use_is_refused_soon_after_its_end(
    settings: Settings,
    database: Database,
    queue: MemoryQueue,
    make_key: MakeKey,
    monkeypatch: pytest.MonkeyPatch,
    column: str,
) -> None:
    monkeypatch.setattr(security, "_CACHE_SECONDS", 0.3)
    app = create_app(settings, queue=queue)
    key = make_key()
    client = Http(app, key)
    assert client.get("/v1/jobs").status_code == 200
    change(database, key, **{column: time.time()})
    wait_until(lambda: client.get("/v1/jobs").status_code == 401, "the key is refused")
    check_problem(client.get("/v1/jobs"), 401, "unauthorized")
    app.state.services.database.close()


# ---- before the body -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["application/json", "multipart/form-data; boundary=x", "text/csv"])
def test_a_body_is_not_read_for_a_key_without_the_scope(app: FastAPI, make_key: MakeKey, form: str) -> None:
    """Nor for no key: each route is asked with a body that answers whoever reads it with an error."""
    keys: dict[str, tuple[Scope, ...]] = {
        "read": ("write", "predict"),
        "write": ("read", "predict"),
        "predict": ("read", "write"),
    }
    made = {scope: make_key(scopes=others) for scope, others in keys.items()} | {"admin": make_key(scopes=("read",))}
    for method, path in closed(app):
        for key, expected in ((made[scope_of(method, path)], 403), ("x" * 40, 401)):
            read: list[bool] = []

            async def body(read: list[bool] = read) -> AsyncIterator[bytes]:
                read.append(True)
                yield b"{" * 1000

            headers = {"content-type": form, "content-length": str(1 << 20)}
            answer = Http(app, key).request(method, re.sub(r"\{\w+\}", "x", path), content=body(), headers=headers)
            assert (answer.status_code, read) == (expected, []), (method, path)
