"""/label-studio/{ref}: what Label Studio asks of an ML backend whose URL this is."""

from typing import Any

from fastapi import Depends

from app.dependencies import Reading, State
from app.errors import Problem
from app.models import service as models
from app.models.endpoints import Ref
from app.predictions.deadlines import limited
from app.predictions.protocols.label_studio import backend
from app.predictions.protocols.label_studio.schemas import (
    BackendHealth,
    PredictRequest,
    PredictResponse,
    SetupRequest,
    Version,
    Versions,
    WebhookEvent,
    WebhookResponse,
)
from app.security import CanPredict, CanWrite, secure_router

router = secure_router("/label-studio", "label studio")

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such model."}}


@router.get("/{ref}/health", responses=_MISSING)
def get_label_studio_health(ref: Ref, session: Reading, principal: CanPredict) -> BackendHealth:
    """Answer that the model is there."""
    models.resolve(session, principal.project_id, ref, light=True)
    return BackendHealth()


@router.post("/{ref}/setup", responses=_MISSING)
def set_up_label_studio(ref: Ref, body: SetupRequest, state: State, principal: CanPredict) -> Version:
    """Connect a project: say which version answers, or why the model does not fit the project's choices."""
    return Version(model_version=backend.set_up(state, principal.project_id, ref, body))


@router.get("/{ref}/versions", responses=_MISSING)
def list_label_studio_versions(ref: Ref, session: Reading, principal: CanPredict) -> Versions:
    """List the versions of the model's name, the oldest first."""
    row = models.resolve(session, principal.project_id, ref, light=True)
    numbers = models.versions(session, principal.project_id, row.name)
    return Versions(versions=[f"{row.name}@{number}" for number in numbers])


@router.post("/{ref}/predict", responses=_MISSING, dependencies=[Depends(limited)])
def predict_label_studio_tasks(ref: Ref, body: PredictRequest, state: State, principal: CanPredict) -> PredictResponse:
    """Answer tasks with the choices of the project's labelling config."""
    return backend.predict(state, principal.project_id, ref, body)


@router.post("/{ref}/webhook", responses=_MISSING)
def receive_label_studio_event(ref: Ref, body: WebhookEvent, state: State, principal: CanWrite) -> WebhookResponse:
    """Take an event: annotations are kept as labelled rows, and learned as the next version of the model's name."""
    return backend.take(state, principal.project_id, ref, body)
