"""Endpoints of keys, for administrators: those of their own project, or of another that they name."""

from typing import Annotated, Any

from fastapi import Query

from app.dependencies import Reading, State
from app.errors import Problem
from app.keys import administration
from app.keys.schemas import MAX_PROJECT, ApiKey, KeyList, KeyRequest, NewApiKey, RotationRequest
from app.security import CanAdminister, secure_router

router = secure_router("/v1/keys", "keys")

ProjectQuery = Annotated[
    str | None,
    Query(max_length=MAX_PROJECT, description="Id or name of a project; by default that of the request's key."),
]

MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such key or project."}}
LAST: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "It is the last key that may administer the project."}
}
ENDED: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The key is revoked or expired."}}


@router.get("", responses=MISSING)
def list_keys(session: Reading, principal: CanAdminister, project: ProjectQuery = None) -> KeyList:
    """List the keys of a project, newest first, without their secrets."""
    return administration.list_keys(session, administration.project_of(session, principal.project_id, project))


@router.post("", status_code=201)
def create_key(state: State, principal: CanAdminister, body: KeyRequest) -> NewApiKey:
    """Make a key; its secret is shown this once."""
    return state.database.transact(
        lambda session: administration.create(
            session,
            administration.project_of(session, principal.project_id, body.project, make=True),
            body.name,
            body.scopes,
            body.expires_in,
        )
    )


@router.post("/{key_id}/rotate", status_code=201, responses=MISSING | ENDED)
def rotate_key(
    state: State, principal: CanAdminister, key_id: str, body: RotationRequest, project: ProjectQuery = None
) -> NewApiKey:
    """Replace a key by one of the same name and scopes; the old one stays valid for a while."""
    return state.database.transact(
        lambda session: administration.rotate(
            session,
            administration.project_of(session, principal.project_id, project),
            key_id,
            body.overlap,
            body.expires_in,
        )
    )


@router.delete("/{key_id}", responses=MISSING | LAST)
def revoke_key(state: State, principal: CanAdminister, key_id: str, project: ProjectQuery = None) -> ApiKey:
    """Revoke a key; within 5 seconds it opens nothing any more."""
    return state.database.transact(
        lambda session: administration.revoke(
            session, administration.project_of(session, principal.project_id, project), key_id
        )
    )
