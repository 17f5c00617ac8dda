"""API keys from the command line."""

import sys
from typing import cast

from sqlalchemy import select

from app.db.session import Database
from app.db.tables import ApiKeyRow
from app.security import SCOPES, Scope, create_key, hash_key
from app.settings import Settings

PROJECT = "default"


def create(project: str, name: str, scopes: list[str]) -> str:
    """Create a key and return it."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        sys.exit(f"graftwork keys create: unknown scope {unknown[0]!r}; choose among {', '.join(SCOPES)}.")
    database = Database(Settings().sql_url)
    with database.writing() as session:
        key = create_key(session, project, name, cast("list[Scope]", scopes))
    database.close()
    return key


def bootstrap(database: Database, given: str | None) -> str | None:
    """Make the first key of a new installation and return it; a `given` one is made if it is not there yet."""
    with database.writing() as session:
        known = session.scalar(select(ApiKeyRow.id).where(ApiKeyRow.sha256 == hash_key(given))) if given else None
        if known is not None or (given is None and session.scalar(select(ApiKeyRow.id).limit(1)) is not None):
            return None
        return create_key(session, PROJECT, "bootstrap", list(SCOPES), given)
