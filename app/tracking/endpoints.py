"""What programs that keep track of experiments take of a job: /v1/jobs/{job_id}/tensorboard and /mlflow."""

from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from app.dependencies import State
from app.errors import Problem
from app.security import CanRead, CanWrite, secure_router
from app.tracking import service
from app.tracking.schemas import MlflowRequest, MlflowRun

router = secure_router("/v1/jobs", "jobs")

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
_FILE: dict[int | str, dict[str, Any]] = {
    **_NOT_FOUND,
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
}
_MLFLOW: dict[int | str, dict[str, Any]] = {
    **_NOT_FOUND,
    409: {"model": Problem, "description": "The job has not ended, or is being written."},
    503: {"model": Problem, "description": "MLflow does not answer, or took too long; what was sent stays."},
}


@router.get("/{job_id}/tensorboard", responses=_FILE, response_class=StreamingResponse)
def get_tensorboard_file(job_id: str, state: State, principal: CanRead) -> Response:
    """Download a job's curves, results and parameters as an event file of TensorBoard."""
    name, parts = service.event_file_of(state.database, state.settings, principal.project_id, job_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(parts, media_type="application/octet-stream", headers=headers)


@router.post("/{job_id}/mlflow", responses=_MLFLOW)
def write_job_to_mlflow(job_id: str, body: MlflowRequest, state: State, principal: CanWrite) -> MlflowRun:
    """Write a job that has ended to an MLflow tracking server, as a run; a repetition completes the same run."""
    return service.write_to_mlflow(state.database, state.settings, principal.project_id, job_id, body)
