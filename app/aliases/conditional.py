"""Moves an alias for a job: only as long as nobody has changed it since the job was asked for."""

from sqlalchemy.orm import Session

from app.aliases import repository
from app.aliases.repository import AliasKey
from app.aliases.traffic import Traffic


def move_if_unchanged(session: Session, key: AliasKey, revision: int, model_id: str) -> str | None:
    """Let an alias mean a model, unless somebody has changed it since that revision; part of the caller's transaction.

    Return why the alias stays as it is; None where it was moved.
    """
    row = repository.find(session, key, lock=True)
    if row is None:
        return "the alias was deleted meanwhile"
    if row.revision != revision:
        return f"the alias was changed meanwhile: it is at revision {row.revision}, and was at {revision}"
    repository.put(session, key, row, Traffic(((model_id, 1.0),)), action="set")
    return None
