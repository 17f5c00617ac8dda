"""SQL of API keys and projects."""

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.db.tables import ApiKeyRow, ProjectRow
from app.kit.ids import new_id

__all__ = ["ApiKeyRow"]  # services know the type of a row from here


def find(session: Session, sha256: str) -> ApiKeyRow | None:
    """Return the key with this digest."""
    return session.scalar(select(ApiKeyRow).where(ApiKeyRow.sha256 == sha256))


def find_all(session: Session, key_ids: Sequence[str]) -> list[ApiKeyRow]:
    """Return the keys with these ids."""
    return list(session.scalars(select(ApiKeyRow).where(ApiKeyRow.id.in_(key_ids))))


def has_any(session: Session) -> bool:
    """Whether there is any key at all."""
    return session.scalar(select(ApiKeyRow.id).limit(1)) is not None


def find_in(session: Session, project_id: str, key_id: str) -> ApiKeyRow | None:
    """Return a key of a project; nobody else changes it until the transaction ends."""
    query = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id, ApiKeyRow.id == key_id)
    return session.scalar(query.with_for_update())


def list_of(session: Session, project_id: str) -> list[ApiKeyRow]:
    """Return the keys of a project, newest first."""
    query = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id)
    return list(session.scalars(query.order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.id.desc())))


def project_named(session: Session, project: str) -> str | None:
    """Return the id of the project of this id, or else of this name; None where there is none."""
    named = select(ProjectRow.id).where(or_(ProjectRow.id == project, ProjectRow.name == project))
    return session.scalar(named.order_by((ProjectRow.id == project).desc()).limit(1))


def ensure_project(session: Session, name: str) -> str:
    """Return the id of a project, which is made where it does not exist yet."""
    project_id = project_named(session, name)
    if project_id is None:
        project_id = new_id("prj")
        session.add(ProjectRow(id=project_id, name=name, created_at=time.time()))
        session.flush()
    return project_id


def add(
    session: Session, project_id: str, name: str, sha256: str, scopes: list[str], expires_at: float | None = None
) -> ApiKeyRow:
    """Insert a key of a project."""
    dates = {"created_at": time.time(), "expires_at": expires_at, "revoked_at": None, "last_used_at": None}
    row = ApiKeyRow(id=new_id("key"), project_id=project_id, name=name, sha256=sha256, scopes=scopes, **dates)
    session.add(row)
    session.flush()
    return row


def note_uses(session: Session, used: Mapping[str, float]) -> None:
    """Write when keys were last used, by id; a later time that another process has written stays."""
    for row in session.scalars(select(ApiKeyRow).where(ApiKeyRow.id.in_(list(used))).with_for_update()):
        row.last_used_at = max(used[row.id], row.last_used_at or 0)
