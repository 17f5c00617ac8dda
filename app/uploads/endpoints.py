"""/v1/uploads: a file arrives in parts, which are sent again where they broke, and is put together."""

from typing import Annotated, Any

from fastapi import Body, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.dependencies import State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.kit.pages import Listing, PageQuery
from app.kit.streaming import receive_file
from app.security import CanRead, CanWrite, secure_router
from app.uploads import service
from app.uploads.schemas import MAX_PARTS, CompleteRequest, Digest, Part, Status, Upload, UploadRequest

router = secure_router("/v1/uploads", "datasets")

UploadPath = Annotated[str, Path(max_length=64)]
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such upload."}}
TOO_LARGE: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The file is larger than the service takes."},
    507: {"model": Problem, "description": "The project's quota or the service has no room left."},
}
DAMAGED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The bytes are not what their digest says, or end early."}
}
COMPLETE: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The upload is complete."}}
CHANGED: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "A part was replaced meanwhile."}}
FULL: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The project has too many of them."}}
_BYTES = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


@router.post("", status_code=201, responses=FULL | TOO_LARGE)
def create_upload(
    state: State, principal: CanWrite, body: UploadRequest, key: IdempotencyKey, response: Response
) -> Upload:
    """Begin an upload in parts. Send its parts, complete it, then make a dataset from it."""
    upload = service.create(state, principal.project_id, body, key)
    response.headers["Location"] = upload.links.self
    return upload


@router.get("")
def list_uploads(
    state: State,
    principal: CanRead,
    page: PageQuery,
    status: Status | None = None,
    sha256: Annotated[Digest | None, Query(description="Only those of a file of this SHA-256.")] = None,
) -> Listing[Upload]:
    """List uploads in parts, newest first."""
    return service.list_page(state, principal.project_id, page, status, sha256)


@router.get("/{upload_id}", responses=MISSING)
def get_upload(state: State, principal: CanRead, upload_id: UploadPath) -> Upload:
    """Return an upload in parts: which of them are here."""
    return service.get(state, principal.project_id, upload_id)


@router.put(
    "/{upload_id}/parts/{number}",
    responses=MISSING | COMPLETE | DAMAGED | TOO_LARGE,
    openapi_extra={"requestBody": _BYTES},
)
async def send_upload_part(
    request: Request,
    principal: CanWrite,
    state: State,
    upload_id: UploadPath,
    number: Annotated[int, Path(ge=1, le=MAX_PARTS, description="Its place among the parts.")],
) -> Part:
    """Send a part, its bytes as they are: in any order, several at once, and again. `Content-Digest` is checked."""
    limit = await run_in_threadpool(service.part_limit, state, principal.project_id, upload_id, number)
    async with receive_file(request, state.settings.data_folder / "tmp", limit) as file:
        return await run_in_threadpool(service.put_part, state, principal.project_id, upload_id, number, file)


@router.post("/{upload_id}/complete", responses=MISSING | CHANGED | DAMAGED)
def complete_upload(
    state: State,
    principal: CanWrite,
    upload_id: UploadPath,
    body: Annotated[CompleteRequest | None, Body()] = None,
) -> Upload:
    """Put the parts together, in the order of their numbers. Of a complete upload nothing is changed."""
    return service.complete(state, principal.project_id, upload_id, body or CompleteRequest())


@router.delete("/{upload_id}", status_code=204, responses=MISSING)
def delete_upload(state: State, principal: CanWrite, upload_id: UploadPath) -> None:
    """Delete an upload and its parts. Datasets that were made from it stay."""
    service.delete(state, principal.project_id, upload_id)
