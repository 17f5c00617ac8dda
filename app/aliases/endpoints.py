"""Endpoints of aliases."""

from typing import Annotated, Any

from fastapi import Body, Path, Response

from app.aliases import service
from app.aliases.schemas import Alias, AliasHistory, AliasList, AliasReport, AliasRequest, RollbackRequest
from app.dependencies import Reading, State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.kit.conditions import ConditionHeaders, etag_of
from app.models.refs import MAX_NAME
from app.security import CanRead, CanWrite, secure_router

router = secure_router("/v1/models", "aliases")

Name = Annotated[str, Path(max_length=250, description="The name of a model.")]
AliasPath = Annotated[str, Path(max_length=MAX_NAME)]
MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model, or it has no such alias."}
}
CHANGED: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The version does not answer as when it was made, or the alias moves now."},
    412: {"model": Problem, "description": "The alias is not as If-Match or If-None-Match say."},
}


@router.get("/{name}/aliases", responses=MISSING)
def list_aliases(session: Reading, principal: CanRead, name: Name) -> AliasList:
    """List the aliases of a name."""
    return service.list_all(session, principal.project_id, name)


@router.get("/{name}/aliases/{alias}", responses=MISSING)
def get_alias(session: Reading, principal: CanRead, response: Response, name: Name, alias: AliasPath) -> Alias:
    """Return an alias, with its revision as its ETag."""
    return _with_etag(service.get(session, principal.project_id, name, alias), response)


@router.put("/{name}/aliases/{alias}", responses=MISSING | CHANGED)
def set_alias(
    principal: CanWrite,
    state: State,
    response: Response,
    name: Name,
    alias: AliasPath,
    body: AliasRequest,
    conditions: ConditionHeaders,
) -> Alias:
    """Point an alias at a version of the model, or at several by weight; each is loaded and checked before."""
    return _with_etag(service.put(state, principal.project_id, name, alias, body, conditions), response)


@router.delete("/{name}/aliases/{alias}", status_code=204, responses=MISSING | CHANGED)
def delete_alias(principal: CanWrite, state: State, name: Name, alias: AliasPath, conditions: ConditionHeaders) -> None:
    """Delete an alias; the version that it means stays, and its history, too."""
    state.database.transact(
        lambda session: service.delete(session, state, principal.project_id, name, alias, conditions)
    )


@router.get("/{name}/aliases/{alias}/history", responses=MISSING)
def get_alias_history(session: Reading, principal: CanRead, name: Name, alias: AliasPath) -> AliasHistory:
    """List the newest 200 changes of an alias, the newest first, also of one that is deleted."""
    return service.history(session, principal.project_id, name, alias)


@router.get("/{name}/aliases/{alias}/report", responses=MISSING)
def get_alias_report(session: Reading, principal: CanRead, name: Name, alias: AliasPath) -> AliasReport:
    """Return how the predictions of an alias differ from those of its shadow."""
    return service.report(session, principal.project_id, name, alias)


@router.post("/{name}/aliases/{alias}/rollback", responses=MISSING | CHANGED)
def roll_back_alias(
    principal: CanWrite,
    state: State,
    response: Response,
    name: Name,
    alias: AliasPath,
    conditions: ConditionHeaders,
    key: IdempotencyKey,
    body: Annotated[RollbackRequest | None, Body()] = None,
) -> Alias:
    """Point an alias at the version that it meant before, or at a revision of its history."""
    revision = body.revision if body else None
    answer = service.roll_back(state, principal.project_id, name, alias, revision, conditions, key)
    return _with_etag(answer, response)


def _with_etag(alias: Alias, response: Response) -> Alias:
    response.headers["ETag"] = etag_of(alias.revision)
    return alias
