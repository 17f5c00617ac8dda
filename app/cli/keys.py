"""`graftwork server keys`: creates, lists, revokes and rotates the API keys of a project."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy.orm import Session

from app.cli.database import exit_unless_usable
from app.db.session import Database
from app.errors import GraftworkError
from app.keys import administration, repository
from app.keys.schemas import ApiKey
from app.keys.service import SCOPES, Scope
from app.settings import Settings

PROJECT = "default"
_DAY = 86_400.0
Value = TypeVar("Value")


def create(project: str, name: str, scopes: list[str], days: float | None = None) -> str:
    """Create a key of a project, which expires after so many days, and return it. Exits for an unknown scope."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        sys.exit(f"graftwork server keys create: unknown scope {unknown[0]!r}; choose among {', '.join(SCOPES)}.")

    def made(session: Session) -> str:
        project_id = repository.ensure_project(session, project)
        chosen = cast("list[Scope]", scopes)
        return administration.create(session, project_id, name, chosen, _seconds(days)).secret

    return _transacted(made)


def list_all(project: str) -> str:
    """Return the keys of a project as a table, newest first. Exits for an unknown project."""
    keys = _transacted(lambda session: administration.list_keys(session, _project(session, project)).data)
    rows = [("ID", "NAME", "SCOPES", "CREATED", "LAST USED", "STATE"), *map(_row, keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def revoke(project: str, key_id: str) -> None:
    """Revoke a key of a project. Exits where there is none."""
    _transacted(lambda session: administration.revoke(session, _project(session, project), key_id))


def rotate(project: str, key_id: str, overlap: float, days: float | None) -> str:
    """Replace a key, which stays valid for `overlap` seconds, and return the new one. Exits where there is none."""
    return _transacted(
        lambda session: (
            administration.rotate(session, _project(session, project), key_id, overlap, _seconds(days)).secret
        )
    )


def write_first_key(folder: Path, key: str) -> Path:
    """Write a key to a file that its owner alone can read, and return where."""
    path = folder / "first.key"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - Path.open takes no mode of a new file
        file.write(f"{key}\n")
    return path


def _transacted(action: Callable[[Session], Value]) -> Value:
    settings = Settings()
    exit_unless_usable(settings)
    database = Database(settings.sql_url)
    try:
        return database.transact(action)
    except GraftworkError as error:
        sys.exit(f"graftwork server keys: {error.detail}")
    finally:
        database.close()


def _project(session: Session, name: str) -> str:
    project_id = repository.project_named(session, name)
    if project_id is None:
        sys.exit(f"graftwork server keys: there is no project {name!r}.")
    return project_id


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * _DAY


def _row(key: ApiKey) -> tuple[str, ...]:
    used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
    state = "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "valid"
    return key.id, key.name, ",".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", used, state
