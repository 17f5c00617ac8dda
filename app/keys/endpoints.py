"""Endpoints of keys, for administrators of their project."""

from typing import Any

from app.dependencies import Reading, State
from app.errors import Problem
from app.keys import administration
from app.keys.schemas import ApiKey, KeyList, KeyRequest, NewApiKey, RotationRequest
from app.security import CanAdminister, secure_router

router = secure_router("/v1/keys", "keys")

MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "The project has no such key."}}
LAST: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "It is the last key that may administer the project."}
}
ENDED: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The key is revoked or expired."}}


@router.get("")
def index(session: Reading, principal: CanAdminister) -> KeyList:
    """List the project's keys, newest first, without their secrets."""
    return administration.list_keys(session, principal.project_id)


@router.post("", status_code=201)
def create(state: State, principal: CanAdminister, body: KeyRequest) -> NewApiKey:
    """Make a key; its secret is shown this once."""
    return state.database.transact(
        lambda session: administration.create(session, principal.project_id, body.name, body.scopes, body.expires_in)
    )


@router.post("/{key_id}/rotate", status_code=201, responses=MISSING | ENDED)
def rotate(state: State, principal: CanAdminister, key_id: str, body: RotationRequest) -> NewApiKey:
    """Replace a key by one of the same name and scopes; the old one stays valid for a while."""
    return state.database.transact(
        lambda session: administration.rotate(session, principal.project_id, key_id, body.overlap, body.expires_in)
    )


@router.delete("/{key_id}", responses=MISSING | LAST)
def revoke(state: State, principal: CanAdminister, key_id: str) -> ApiKey:
    """Revoke a key; within 5 seconds it opens nothing any more."""
    return state.database.transact(lambda session: administration.revoke(session, principal.project_id, key_id))
