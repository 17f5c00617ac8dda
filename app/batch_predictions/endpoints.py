"""/v1/batch_predictions: a file of any size is sent, and a job answers its rows."""

from typing import Any

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from app.batch_predictions import service
from app.dependencies import State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.jobs.kinds.batch_prediction import UploadOptions
from app.jobs.schemas import Job
from app.kit.forms import receive_form
from app.kit.json_schema import form_body, list_fields
from app.security import CanWrite, secure_router
from app.storage.service import upload_limit

router = secure_router("/v1/batch_predictions", "jobs")

_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The multipart body is malformed, or not what its Content-Digest says."},
    404: {"model": Problem, "description": "There is no such model."},
    409: {"model": Problem, "description": "The model is a backbone without heads."},
    413: {"model": Problem, "description": "The upload is too large."},
    415: {"model": Problem, "description": "The body is no multipart/form-data, or the file of no known format."},
    429: {"model": Problem, "description": "Too many jobs of the project are unfinished."},
    507: {"model": Problem, "description": "The project's quota or the service has no room left."},
}


_LISTS = list_fields(UploadOptions.model_json_schema())
_FORM = form_body(
    UploadOptions.model_json_schema(),
    "CSV, JSON Lines, one JSON document, Parquet, plain text, .npy, .npz, or a zip of images, of .txt files, or of one "
    "or several tables.",
    examples=[{"file": "petal,sepal\n1.4,3.2\n4.7,2.9\n", "model": "flower-kinds"}],
)


@router.post("", status_code=202, responses=_REFUSED, openapi_extra={"requestBody": _FORM})
async def create_batch_prediction(
    request: Request, response: Response, principal: CanWrite, state: State, key: IdempotencyKey
) -> Job:
    """Send a file of rows and queue the job that answers every one of them; its results are files of the job."""
    limit = await run_in_threadpool(upload_limit, state, principal.project_id)
    async with receive_form(request, state.settings.data_folder / "tmp", limit, lists=_LISTS) as form:
        job = await run_in_threadpool(service.create, state, principal.project_id, key, form)
    response.headers["Location"] = job.links.self
    return job
