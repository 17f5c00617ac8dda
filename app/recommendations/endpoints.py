"""/v1/recommendations."""

from functools import partial
from typing import Any

from fastapi import Response

from app.dependencies import State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.jobs.accepting import accept
from app.jobs.schemas import Job
from app.recommendations import service
from app.recommendations.schemas import RecommendationRequest
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
    submit = partial(service.submit, queue=state.queue, project_id=project, request=body, most_unfinished=limit)
    return accept(state.database, principal, key, "POST /v1/recommendations", body, response, submit)
