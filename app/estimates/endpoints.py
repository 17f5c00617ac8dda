"""/v1/jobs/estimate."""

from functools import partial
from typing import Any

from fastapi import Response

from app.dependencies import State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.jobs import service
from app.jobs.kinds import AnyTraining
from app.jobs.kinds.estimate import estimate_columns
from app.jobs.schemas import Job
from app.jobs.submission import submit_once
from app.security import CanWrite, secure_router

router = secure_router("/v1/jobs/estimate", "jobs")

_RESPONSES: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (404, 409, 429)}


@router.post("", status_code=202, responses=_RESPONSES)
def estimate_job(body: AnyTraining, state: State, principal: CanWrite, key: IdempotencyKey, response: Response) -> Job:
    """Measure what a training would cost, by a job of seconds that makes no model; its metrics hold the estimate."""
    project, limit = principal.project_id, state.settings.max_queued_jobs
    resolve = partial(estimate_columns, base=body)
    submit = partial(service.submit, queue=state.queue, project_id=project, resolve=resolve, max_unfinished=limit)
    return submit_once(state.database, principal, key, "POST /v1/jobs/estimate", body, response, submit)
