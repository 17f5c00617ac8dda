"""Models over HTTP."""

import base64
from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.responses import FileResponse

from app.dependencies import Reading, State, Writing
from app.errors import Problem
from app.kit.pages import Listing, PageQuery
from app.models import service
from app.models.refs import MAX_REF
from app.models.schemas import Alias, AliasRequest, Kind, Lineage, Model
from app.security import Reader, Writer, secure_router

router = secure_router("/v1/models", "models")

MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such model, or file of it."}}
IN_USE: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "An unfinished job starts from it."}}
BUSY: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "Somebody else is making this alias."}}
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}

Ref = Annotated[str, Path(max_length=MAX_REF, description="`mdl_...`, `name`, `name@version` or `name@alias`.")]


@router.get("")
def index(
    session: Reading,
    principal: Reader,
    page: PageQuery,
    name: Annotated[str | None, Query(max_length=100)] = None,
    kind: Kind | None = None,
) -> Listing[Model]:
    """List models."""
    return service.list_page(session, principal.project_id, page, name, kind)


@router.get("/{ref}", responses=MISSING)
def get(session: Reading, principal: Reader, ref: Ref) -> Model:
    """Return a model."""
    return service.get(session, principal.project_id, ref)


@router.delete("/{ref}", status_code=204, responses=MISSING | IN_USE)
def delete(session: Writing, principal: Writer, state: State, ref: Ref) -> None:
    """Delete one version of a model, with its aliases."""
    service.delete(session, state, principal.project_id, ref)


@router.get("/{ref}/lineage", responses=MISSING)
def lineage(session: Reading, principal: Reader, ref: Ref) -> Lineage:
    """Return what a model was made from, up to the root, and what was made from it."""
    return service.lineage(session, principal.project_id, ref)


@router.get("/{ref}/files/{name}", responses=MISSING | BYTES, response_class=FileResponse)
def file(state: State, principal: Reader, ref: Ref, name: Annotated[str, Path(max_length=100)]) -> FileResponse:
    """Download one file of a model; its bytes are checked against their digest first."""
    path, sha256 = service.file(state, principal.project_id, ref, name)
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    headers = {"ETag": f'"{sha256}"', "Repr-Digest": f"sha-256=:{digest}:"}
    return FileResponse(path, media_type="application/octet-stream", filename=name, headers=headers)


@router.put("/{name}/aliases/{alias}", responses=MISSING | BUSY)
def put_alias(
    session: Writing,
    principal: Writer,
    state: State,
    name: Ref,
    alias: Annotated[str, Path(max_length=100)],
    body: AliasRequest,
) -> Alias:
    """Point an alias at a version; it moves at once."""
    return service.put_alias(session, state, principal.project_id, name, alias, body.model)
