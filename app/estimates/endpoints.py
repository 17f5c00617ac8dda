"""/v1/jobs/estimate."""

from functools import partial
from typing import Any

from fastapi import Response

from app.dependencies import State
from app.errors import Problem
from app.estimates import service
from app.idempotency.service import IdempotencyKey
from app.jobs.accepting import accept
from app.jobs.schemas import BaseRequest, Job
from app.security import CanWrite, secure_router

router = secure_router("/v1/jobs/estimate", "jobs")

_RESPONSES: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (404, 409, 429)}


@router.post("", status_code=202, responses=_RESPONSES)
def estimate_job(body: BaseRequest, state: State, principal: CanWrite, key: IdempotencyKey, response: Response) -> Job:
    """Measure what a training would cost, by a job of seconds that makes no model; its metrics hold the estimate."""
    project, limit = principal.project_id, state.settings.max_queued_jobs
    submit = partial(service.submit, queue=state.queue, project_id=project, request=body, most_unfinished=limit)
    return accept(state.database, principal, key, "POST /v1/jobs/estimate", body, response, submit)
