"""Creates API keys: `graftwork keys create`."""

import sys
from typing import cast

from app.db.session import Database
from app.keys.service import SCOPES, Scope, create_key
from app.settings import Settings

PROJECT = "default"


def create(project: str, name: str, scopes: list[str]) -> str:
    """Create a key of a project and return it. Exits for an unknown scope."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        sys.exit(f"graftwork keys create: unknown scope {unknown[0]!r}; choose among {', '.join(SCOPES)}.")
    database = Database(Settings().sql_url)
    with database.writing() as session:
        key = create_key(session, project, name, cast("list[Scope]", scopes))
    database.close()
    return key
