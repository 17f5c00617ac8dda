"""Creates API keys, and finds the owner of a key."""

import hashlib
import secrets
import time
from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.keys import repository

Scope = Literal["read", "write", "predict", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MIN_KEY_LENGTH = 32


class Principal(BaseModel):
    """The owner of a key: the project that the key belongs to, and its scopes there."""

    key_id: str
    project_id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope; `admin` implies the others."""
        return scope in self.scopes or "admin" in self.scopes


def hash_key(key: bytes) -> str:
    """Return the digest that is stored of a key. Keys are long and random, so a plain sha256 is enough."""
    return hashlib.sha256(key).hexdigest()


def principal_of(session: Session, digest: str) -> Principal | None:
    """Return the owner of the key with this digest, or None for a key that is unknown, revoked or expired."""
    row = repository.find(session, digest)
    if row is None or not is_valid(row, time.time()):
        return None
    return Principal(key_id=row.id, project_id=row.project_id, scopes=frozenset(row.scopes))


def valid_keys(session: Session, key_ids: Sequence[str]) -> set[str]:
    """Return those of the keys that are neither revoked nor expired."""
    now = time.time()
    return {row.id for row in repository.find_all(session, key_ids) if is_valid(row, now)}


def is_valid(row: repository.ApiKeyRow, now: float) -> bool:
    """Whether a key is neither revoked nor expired."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def new_secret() -> str:
    """Return a new random key."""
    return f"gw_{secrets.token_urlsafe(32)}"


def create_key(session: Session, project: str, name: str, scopes: list[Scope], key: str | None = None) -> str:
    """Add a key to a project (created if need be) and return it; only its digest is stored.

    Raises:
        ValueError: `key` is too short.
    """
    secret = (key or new_secret()).strip()
    if len(secret) < MIN_KEY_LENGTH:
        msg = f"A key has at least {MIN_KEY_LENGTH} characters."
        raise ValueError(msg)
    repository.add(session, repository.ensure_project(session, project), name, hash_key(secret.encode()), list(scopes))
    return secret


def first_key(session: Session, project: str, key: str | None, *, invent: bool) -> str | None:
    """Create `key` unless it exists; without one and with `invent`, create a random key unless there is any key.

    Returns the key if it was created.
    """
    if key is None:
        is_needed = invent and not repository.has_any(session)
    else:
        is_needed = repository.find(session, hash_key(key.strip().encode())) is None
    return create_key(session, project, "bootstrap", list(SCOPES), key) if is_needed else None
