"""/v1/heads."""

from typing import Any

from fastapi import Depends, Response

from app.dependencies import State
from app.errors import Problem
from app.heads import service
from app.heads.schemas import FittedModel, HeadsRequest
from app.idempotency.service import IdempotencyKey
from app.predictions.deadlines import allow, limited
from app.security import CanWrite, secure_router

router = secure_router("/v1/heads", "heads")
router.dependencies.append(Depends(limited))

_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model or dataset."},
    409: {"model": Problem, "description": "The dataset is not ready, the alias is taken, or others make versions."},
    429: {"model": Problem, "description": "It is to climb, and too many jobs of the project are unfinished."},
    413: {"model": Problem, "description": "The body is too large."},
    504: {"model": Problem, "description": "The heads were not fitted in time."},
}


@router.post("", status_code=201, responses=_RESPONSES)
def create_heads(
    body: HeadsRequest, state: State, principal: CanWrite, key: IdempotencyKey, response: Response
) -> FittedModel:
    """Fit heads on a model's backbone, and register and load the model that they make."""
    allow(body.timeout)
    model = service.create(state, principal.project_id, key, body)
    response.headers["Location"] = model.links.self
    return model
