"""What administrators do with the keys of a project, their own or another: list, make, revoke, rotate."""

import time
from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.errors import ConflictError, NotFoundError
from app.keys import repository
from app.keys.schemas import ApiKey, KeyList, NewApiKey
from app.keys.service import Scope, hash_key, is_valid, new_secret


def project_of(session: Session, own: str, project: str | None, *, make: bool = False) -> str:
    """Return the id of the project of this id or name, by default the administrator's own.

    Raises:
        NotFoundError: there is none, and it is not to be made.
    """
    project_id = own if project is None else repository.project_named(session, project)
    if project_id is None and project is not None and make:
        return repository.ensure_project(session, project)
    if project_id is None:
        msg = "There is no such project; GET /v1/admin/projects lists them."
        raise NotFoundError(msg, code="project_not_found")
    return project_id


def list_keys(session: Session, project_id: str) -> KeyList:
    """Return the keys of a project, newest first; revoked and expired ones as well."""
    return KeyList(data=[shown(row) for row in repository.list_of(session, project_id)])


def create(
    session: Session, project_id: str, name: str, scopes: Sequence[Scope], expires_in: float | None = None
) -> NewApiKey:
    """Add a key to a project; `expires_in` is in seconds."""
    secret, now = new_secret(), time.time()
    expires_at = None if expires_in is None else now + expires_in
    digest = hash_key(secret.encode())
    row = repository.add(session, project_id, name, digest, list(dict.fromkeys(scopes)), expires_at)
    return NewApiKey(**shown(row).model_dump(), secret=secret)


def revoke(session: Session, project_id: str, key_id: str) -> ApiKey:
    """Revoke a key; one that is revoked stays so.

    Raises:
        NotFoundError: the project has no such key.
        ConflictError: it is the project's last key that may administer.
    """
    row = _find(session, project_id, key_id)
    if row.revoked_at is None:
        _refuse_last(session, row)
        row.revoked_at = time.time()
    return shown(row)


def rotate(
    session: Session, project_id: str, key_id: str, overlap: float, expires_in: float | None = None
) -> NewApiKey:
    """Replace a key by a new one of the same name and scopes; the old one expires after `overlap` seconds.

    Raises:
        NotFoundError: the project has no such key.
        ConflictError: it is no longer valid.
    """
    row = _find(session, project_id, key_id)
    now = time.time()
    if not is_valid(row, now):
        msg = "This key is revoked or expired: make a new one."
        raise ConflictError(msg, code="key_not_valid")
    made = create(session, project_id, row.name, row.scopes, expires_in)
    row.expires_at = now + overlap if row.expires_at is None else min(row.expires_at, now + overlap)
    return made


def shown(row: repository.ApiKeyRow) -> ApiKey:
    """Return the answer that describes a key."""
    return ApiKey.model_validate(row, from_attributes=True)


def _find(session: Session, project_id: str, key_id: str) -> repository.ApiKeyRow:
    row = repository.find_in(session, project_id, key_id)
    if row is None:
        msg = "There is no such key."
        raise NotFoundError(msg, code="key_not_found")
    return row


def _refuse_last(session: Session, row: repository.ApiKeyRow) -> None:
    """Raise ConflictError where nobody could administer the project's keys without this one."""
    now = time.time()
    others = [other for other in repository.list_of(session, row.project_id) if other.id != row.id]
    if "admin" in row.scopes and not any(is_valid(other, now) and "admin" in other.scopes for other in others):
        msg = "This is the project's last key with the scope 'admin': make another one before."
        raise ConflictError(msg, code="last_admin_key")
