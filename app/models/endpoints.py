"""Endpoints of models."""

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.artifacts import fetch_blob
from app.dependencies import Reading, State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.kit.downloads import Download, checked_file
from app.kit.forms import receive_form
from app.kit.json_schema import form_body
from app.kit.pages import Listing, PageQuery, ViewQuery
from app.kit.streaming import media_type, receive_small
from app.models import importing, service
from app.models.packages import MAX_VOCAB_BYTES
from app.models.refs import MAX_REF
from app.models.schemas import Kind, Lineage, Model, ModelSummary
from app.security import CanRead, CanWrite, secure_router
from app.storage.service import upload_limit

router = secure_router("/v1/models", "models")

MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model, or it has no such file."}
}
IN_USE: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The name has versions, and none is named; or an unfinished job uses it."}
}
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The ranges of bytes that were asked for."},
    304: {"description": "The file is the one that If-None-Match names."},
    416: {"model": Problem, "description": "The file has no byte in the range that was asked for."},
}

REFUSED: dict[int | str, dict[str, Any]] = {
    200: {"model": Model, "description": "The project has the model of these published weights already."},
    404: {"model": Problem, "description": "The published weights are not on this machine."},
    400: {"model": Problem, "description": "The multipart body is malformed, or does not match its Content-Digest."},
    409: {"model": Problem, "description": "Other requests are registering versions of this name."},
    413: {"model": Problem, "description": "The upload is too large, or too large once unpacked."},
    415: {"model": Problem, "description": "The file is neither a safetensors file nor a package that holds one."},
    503: {"model": Problem, "description": "Another import is in progress."},
    507: {"model": Problem, "description": "The service has no room left for the upload."},
}

Ref = Annotated[str, Path(max_length=MAX_REF, description="`mdl_...`, `name`, `name@version` or `name@alias`.")]


_BODY = form_body(importing.ImportOptions.model_json_schema(), "A .safetensors file, or a zip or wheel that holds one.")
_BODY["content"]["application/json"] = {"schema": importing.SourceRequest.model_json_schema()}


@router.post("", status_code=201, responses=REFUSED, openapi_extra={"requestBody": _BODY})
async def import_model(
    request: Request, response: Response, principal: CanWrite, state: State, key: IdempotencyKey
) -> Model:
    """Import a pretrained backbone: weights of a known architecture, or as JSON the name of published ones."""
    if media_type(request) == "application/json":
        body = importing.source_request(await receive_small(request))
        services = (state.database, state.artifacts, state.settings)
        model, is_new = await run_in_threadpool(importing.bring_in, *services, principal.project_id, body)
        response.status_code = 201 if is_new else 200
        response.headers["Location"] = model.links.self
        return model
    limit = await run_in_threadpool(upload_limit, state, principal.project_id)
    folder = state.settings.data_folder / "tmp"
    async with receive_form(request, folder, limit, field_bytes=MAX_VOCAB_BYTES) as form:
        model = await run_in_threadpool(importing.create, state, principal.project_id, key, form)
    response.headers["Location"] = model.links.self
    return model


@router.get("")
def list_models(
    session: Reading,
    principal: CanRead,
    page: PageQuery,
    name: Annotated[str | None, Query(max_length=100)] = None,
    kind: Kind | None = None,
    view: ViewQuery = "summary",
) -> Listing[Model] | Listing[ModelSummary]:
    """List models, newest first by default, without their configs, heads, metrics and files unless `view=full`."""
    return service.list_page(session, principal.project_id, page, view, name, kind)


@router.get("/{ref}", responses=MISSING)
def get_model(session: Reading, principal: CanRead, ref: Ref) -> Model:
    """Return a model."""
    return service.get(session, principal.project_id, ref)


@router.delete("/{ref}", status_code=204, responses=MISSING | IN_USE)
def delete_model(principal: CanWrite, state: State, ref: Ref) -> None:
    """Delete one version of a model, by its id, name@version or name@alias, and its aliases."""
    state.database.transact(lambda session: service.delete(session, state, principal.project_id, ref))


@router.get("/{ref}/lineage", responses=MISSING)
def get_model_lineage(session: Reading, principal: CanRead, ref: Ref) -> Lineage:
    """Return a model's ancestors up to the root, and the models fine-tuned from it."""
    return service.lineage(session, principal.project_id, ref)


@router.get("/{ref}/files/{name}", responses=MISSING | BYTES | PARTS, response_class=Download)
def get_model_file(
    request: Request, state: State, principal: CanRead, ref: Ref, name: Annotated[str, Path(max_length=100)]
) -> Response:
    """Download one file of a model, or ranges of it, after its bytes were checked against their digest."""
    sha256 = service.file_sha256(state, principal.project_id, ref, name)
    return checked_file(request, sha256, name, lambda: fetch_blob(state.artifacts, sha256))
