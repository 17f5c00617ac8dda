"""SQL of API keys and projects."""

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import ApiKeyRow, ProjectRow
from app.kit.ids import new_id

__all__ = ["ApiKeyRow"]  # services know the type of a row from here


def find(session: Session, sha256: str) -> ApiKeyRow | None:
    """Return the key with this digest."""
    return session.scalar(select(ApiKeyRow).where(ApiKeyRow.sha256 == sha256))


def has_any(session: Session) -> bool:
    """Whether there is any key at all."""
    return session.scalar(select(ApiKeyRow.id).limit(1)) is not None


def add(session: Session, project: str, name: str, sha256: str, scopes: list[str]) -> None:
    """Insert a key of a project, and the project where it does not exist yet."""
    now = time.time()
    owner = session.scalar(select(ProjectRow).where(ProjectRow.name == project))
    if owner is None:
        owner = ProjectRow(id=new_id("prj"), name=project, created_at=now)
        session.add(owner)
        session.flush()
    dates = {"created_at": now, "expires_at": None, "revoked_at": None}
    session.add(ApiKeyRow(id=new_id("key"), project_id=owner.id, name=name, sha256=sha256, scopes=scopes, **dates))
