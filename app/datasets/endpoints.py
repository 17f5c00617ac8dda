"""Datasets over HTTP."""

from typing import Annotated, Any

from fastapi import Body, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.datasets import previews, service, versions
from app.datasets.options import PrepareOptions
from app.datasets.previews import Preview, PreviewRequest
from app.datasets.report import Report
from app.datasets.schemas import Dataset, DatasetRequest, DatasetSummary, Leaks, RowsPage, Status, VersionRequest
from app.dependencies import Reading, State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.kit.forms import receive_form
from app.kit.json_schema import form_body, list_fields
from app.kit.pages import Listing, PageQuery, ViewQuery
from app.kit.streaming import media_type, receive_small
from app.security import CanRead, CanWrite, secure_router
from app.storage.service import upload_limit

router = secure_router("/v1/datasets", "datasets")

MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such dataset."}}
NOT_READY: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "Not prepared, or in use."}}
NO_SOURCE: dict[int | str, dict[str, Any]] = {
    415: {"model": Problem, "description": "The uploaded file is of no known format."},
    507: {"model": Problem, "description": "The project's quota has no room left."},
}
REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The multipart body is malformed, or not what its Content-Digest says."},
    413: {"model": Problem, "description": "The upload is too large."},
    415: {"model": Problem, "description": "The body is no multipart/form-data, or the file of no known format."},
    507: {"model": Problem, "description": "The project's quota or the service has no room left."},
}


_FLOWERS = "petal,sepal,kind\n" + "".join(
    f"{(4 if i % 2 else 1) + i / 50:.2f},{3 + i * 7 % 20 / 20:.2f},{'virginica' if i % 2 else 'setosa'}\n"
    for i in range(40)
)
_COMMENTS = "text,kind\n" + "".join(
    f"parcel {i} was {'late and broken,complaint' if i % 2 else 'here at once and whole,praise'}\n" for i in range(40)
)
_LISTS = list_fields(PrepareOptions.model_json_schema())
_FORM = form_body(
    PrepareOptions.model_json_schema(),
    "CSV, JSON Lines, Parquet, plain text, .npy, .npz, or a zip of images or of .txt files.",
    {"name": {"type": "string", "minLength": 1, "maxLength": service.MAX_NAME}},
    [
        {"file": _FLOWERS, "name": "flowers", "columns": {"kind": "target"}},
        {"file": _COMMENTS, "name": "comments", "columns": {"kind": "target"}},
    ],
)


_FORM["content"]["application/json"] = {"schema": DatasetRequest.model_json_schema()}


@router.post("", status_code=202, responses=REFUSED, openapi_extra={"requestBody": _FORM})
async def create_dataset(
    request: Request, response: Response, principal: CanWrite, state: State, key: IdempotencyKey
) -> Dataset:
    """Upload a dataset or register one in place. It is `preparing` until its job is done, then `ready` or `failed`."""
    if media_type(request) == "application/json":
        body = await receive_small(request)
        dataset = await run_in_threadpool(service.create_from_json, state, principal.project_id, key, body)
        response.headers["Location"] = dataset.links.self
        return dataset
    limit = await run_in_threadpool(upload_limit, state, principal.project_id)
    async with receive_form(request, state.settings.data_folder / "tmp", limit, lists=_LISTS) as form:
        dataset = await run_in_threadpool(service.create, state, principal.project_id, key, form)
    response.headers["Location"] = dataset.links.self
    return dataset


@router.get("")
def list_datasets(
    session: Reading,
    principal: CanRead,
    page: PageQuery,
    status: Status | None = None,
    name: Annotated[str | None, Query(max_length=service.MAX_NAME)] = None,
    view: ViewQuery = "summary",
) -> Listing[Dataset] | Listing[DatasetSummary]:
    """List datasets, newest first by default, without their columns, targets and decisions unless `view=full`."""
    return service.list_page(session, principal.project_id, page, view, status, name)


@router.get("/{dataset_id}", responses=MISSING)
def get_dataset(session: Reading, principal: CanRead, dataset_id: str) -> Dataset:
    """Return a dataset."""
    return service.get(session, principal.project_id, dataset_id)


@router.get("/{dataset_id}/report", responses=MISSING | NOT_READY, response_model=Report)
def get_dataset_report(session: Reading, principal: CanRead, dataset_id: str) -> dict[str, Any]:
    """Return the report of the preparation: what it found, removed and decided."""
    return service.report(session, principal.project_id, dataset_id)


@router.get("/{dataset_id}/rows", responses=MISSING | NOT_READY)
def list_dataset_rows(
    state: State,
    principal: CanRead,
    dataset_id: str,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
) -> RowsPage:
    """Return some rows of the prepared dataset."""
    return service.rows(state, principal.project_id, dataset_id, limit, offset)


@router.post("/{dataset_id}/previews", responses=MISSING | NOT_READY)
def preview_augmentations(state: State, principal: CanRead, dataset_id: str, body: PreviewRequest) -> Preview:
    """Preview augmentations on some rows. Nothing is stored; the same request gives the same answer."""
    return previews.preview(state, principal.project_id, dataset_id, body)


@router.get("/{dataset_id}/leaks", responses=MISSING | NOT_READY)
def list_dataset_leaks(
    state: State,
    principal: CanRead,
    dataset_id: str,
    against: Annotated[
        str | None,
        Query(
            max_length=service.MAX_NAME,
            description="Another dataset, by id or name, such as the one that a backbone was pretrained on.",
        ),
    ] = None,
) -> Leaks:
    """List rows, exact or near duplicates, that are in train and in validation or test, or in two datasets."""
    return versions.leaks(state, principal.project_id, dataset_id, against)


@router.post("/{dataset_id}/versions", status_code=202, responses=MISSING | NOT_READY | NO_SOURCE)
def create_dataset_version(
    state: State,
    principal: CanWrite,
    dataset_id: str,
    key: IdempotencyKey,
    response: Response,
    body: Annotated[VersionRequest | None, Body()] = None,
) -> Dataset:
    """Prepare the file of a dataset, also of a failed one, again under other options, or one with further rows.

    The dataset itself stays.
    """
    dataset = versions.create_version(state, principal.project_id, key, dataset_id, body or VersionRequest())
    response.headers["Location"] = dataset.links.self
    return dataset


@router.delete("/{dataset_id}", status_code=204, responses=MISSING | NOT_READY)
def delete_dataset(state: State, principal: CanWrite, dataset_id: str) -> None:
    """Delete a dataset. Models that were made from it stay."""
    state.database.transact(lambda session: service.delete(session, principal.project_id, dataset_id))
