"""Endpoints of predictions, embeddings and generations; with the model in memory they need no database."""

from typing import Any

from app.dependencies import State
from app.errors import Problem
from app.models.endpoints import Ref
from app.predictions import service
from app.predictions.schemas import Embeddings, Generations, Inputs, Predictions, Prompts
from app.security import CanPredict, secure_router

router = secure_router("/v1/models", "predictions")

MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model."},
    413: {"model": Problem, "description": "The body is too large."},
}
NO_GENERATOR: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The model has no generator."}}
NO_HEADS: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The model is a backbone without heads."}
}


@router.post("/{ref}/predictions", responses=MISSING | NO_HEADS)
def predict(state: State, principal: CanPredict, ref: Ref, body: Inputs) -> Predictions:
    """Return the prediction of every head of a model for every input."""
    return service.predict(state, principal.project_id, ref, body.inputs)


@router.post("/{ref}/generations", responses=MISSING | NO_GENERATOR)
def generate(state: State, principal: CanPredict, ref: Ref, body: Prompts) -> Generations:
    """Continue texts with a model that has a generator."""
    return service.generate(state, principal.project_id, ref, body)


@router.post("/{ref}/embeddings", responses=MISSING)
def embed(state: State, principal: CanPredict, ref: Ref, body: Inputs) -> Embeddings:
    """Return the embedding of every input: the features of the model's backbone."""
    return service.embed(state, principal.project_id, ref, body.inputs)
