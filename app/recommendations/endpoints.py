"""/v1/recommendations."""

from functools import partial
from typing import Any

from fastapi import Response

from app.dependencies import State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.jobs import service
from app.jobs.kinds.recommendation import RecommendationJobRequest, RecommendationRequest
from app.jobs.schemas import Job
from app.jobs.submission import submit_once
from app.security import CanWrite, secure_router

router = secure_router("/v1/recommendations", "recommendations")

_RESPONSES: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (404, 409, 429)}


@router.post("", status_code=202, responses=_RESPONSES)
def create_recommendation(
    body: RecommendationRequest,
    state: State,
    principal: CanWrite,
    key: IdempotencyKey,
    response: Response,
) -> Job:
    """Rank backbones for a labelled dataset, by a job of seconds whose metrics hold the ranking."""
    project, limit = principal.project_id, state.settings.max_queued_jobs
    request = RecommendationJobRequest(kind="recommendation", **body.model_dump(exclude_unset=True))
    submit = partial(
        service.submit, queue=state.queue, project_id=project, resolve=request.resolve, max_unfinished=limit
    )
    return submit_once(state.database, principal, key, "POST /v1/recommendations", body, response, submit)
